"""What the rooms share: the tables, the transaction runner, stamps, and the one choke point for rights."""
