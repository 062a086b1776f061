"""What may be said: lists of sensitive words, and another program that is asked before or told after."""
