"""Cloud Storage, as far as ledger and lease need it: generations, one server's clock, and a network in between."""

from datetime import timedelta

from state.errors import Conflict, TooFast, Unclear
from state.store import Blob
from tests.simulation.network import Refused
from tests.simulation.scheduler import EPOCH


class SimulatedStore:
    """A store that all processes of a story share.

    Args:
        network: carries the requests.
        judge: is told of every write that lands.
    """

    def __init__(self, network, judge):
        self._network, self._judge = network, judge
        self.blobs = {}
        self._written = 0

    def __str__(self):
        return "the ledger's bucket"

    def get(self, name):
        """See `state.store.Store`."""

        def effect(flight):
            if name not in self.blobs:
                return None
            data, generation, updated = self.blobs[name]
            return Blob(data, generation, updated, self.now().replace(microsecond=0))  # a Date header has no fractions

        return self._call(f"get {name}", name, effect, changes=False)

    def put(self, name, data, if_generation):
        """See `state.store.Store`."""

        def effect(flight):
            self._expect(name, if_generation)
            self._judge.stored(flight, name, data)
            self._written += 1
            generation = (self._written * 7919) % 1_000_003 + 1  # unlike, and not growing: nobody may rely on that
            self.blobs[name] = (data, generation, self.now())
            return generation

        return self._call(f"put {name} @{if_generation}", name, effect, changes=True)

    def delete(self, name, if_generation):
        """See `state.store.Store`."""

        def effect(flight):
            self._expect(name, if_generation)
            if name not in self.blobs:
                raise Conflict(name, if_generation)
            self._judge.stored(flight, name, None)
            del self.blobs[name]

        self._call(f"delete {name} @{if_generation}", name, effect, changes=True)

    def list(self, prefix=""):
        """See `state.store.Store`."""
        return sorted(name for name in self.blobs if name.startswith(prefix))

    def _expect(self, name, generation):
        if (self.blobs[name][1] if name in self.blobs else 0) != generation:
            raise Conflict(name, generation)

    def _call(self, what, name, effect, *, changes):
        try:
            return self._network.call(what, effect, changes=changes)
        except Refused as refusal:
            if refusal.fate == "429":
                raise TooFast(name, refusal) from None
            raise Unclear(name, refusal) from None

    def now(self):
        """The server's time."""
        return EPOCH + timedelta(seconds=self._network.scheduler.now)
