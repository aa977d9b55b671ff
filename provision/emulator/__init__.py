"""Google's control-plane APIs in one process, for a machine with nothing of Google's."""
