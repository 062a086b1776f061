"""Groups: membership is an interval, stamped in the conversation's own stream."""
