"""logic: who belongs with whom? Users, contacts, groups. Knows no sockets."""
