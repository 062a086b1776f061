"""Calls between the nodes of several processes and machines."""
