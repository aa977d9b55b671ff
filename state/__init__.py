"""What a deployment remembers: its ledger, and the lease that keeps two runs apart."""
