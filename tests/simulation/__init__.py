"""Deterministic simulation: the real engine, teardown, journal, lease and session, in a world that a seed draws.

One thread runs at a time and hands over at every cloud call, save, sign of life and sleep; time is virtual. To see a
story again: ``python -m tests.simulation --seed N --trace``. What is ours runs as it is; simulated are the threads, the
clocks, the network, Cloud Storage, and a cloud with one row of every kind that the real table has (see `table`).

What may happen (the fault model)
---------------------------------

* One to three runs of `up` (with three different settings) and `down` at the same time, on one or several machines,
  then up to two more that may go wrong as well, then a plain one.
* A process dies at any call, before or after its effect; what its other threads have under way lands or does not.
  A dead process of the same machine is known to be dead at once.
* A process hangs, all of it, for up to 440 s: before it checks its lease, between that check and the sending, or while
  its request is under way. Later it goes on as if nothing had been.
* A call is not sent, is answered 503 before or after its effect or 429, or its answer is lost. Or its connection breaks
  and it lands all the same, later, but within the time-out of a request (25 s). Requests may be slow, and Ctrl-C comes.
* Clocks show another time of day, and are up to one in a thousand too fast or too slow. The server's has no fractions.
* Reads of accounts and applications lag behind by up to 20 s. Operations take minutes and go on without their run;
  deployments fail in the end. Names stay reserved. Strangers edit the policy and delete a thing of ours by hand.

What must hold (the promises)
-----------------------------

At every moment: no change lands without an intent in the durable ledger, nor an update without the image of what was
there; no operation is waited for that the ledger does not name; nobody takes a lease that has not run out, nor saves the
ledger after another has taken over; no change lands while another holds the lease, except for what is said below;
nothing of a stranger's is touched.

After the same command once more: it ends well, and waits for no lock longer than a lease and its margin. Exactly what
is declared is there, once, as declared; the ledger knows all that is ours and nothing else; no intent is unfinished, no
operation under way. A second `up` changes nothing. `down` then leaves nothing of ours, and the strangers' policies and
things as they were.

What a holder of the lease can still do after it lost it
--------------------------------------------------------

1. Stopped between check and send: one more request of each thread that was stopped there, at any time later, however
   long it was stopped. Nothing else: its next save is refused by generation and its next request by the lease.
2. A request whose connection broke, or whose process died, lands up to 25 s after it was sent, so also after its run
   has given the lease back, or its machine has seen it dead.

3. Of an operation whose name was lost in one of these ways nobody knows; it goes on for its time. The last `up` of a
   story begins when there are no such operations: a thing that is about to be deleted reads like any other.

Such a request may undo one change of the new holder, which the next `up` mends. If it makes a thing after a `down`, the
ledger does not know of that; the simulation counts such things and asks nothing of them. And where the server gives
the number (versions of a secret), a late request may make one number more: it goes with what it lies in.
"""
