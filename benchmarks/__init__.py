"""Scripts that time us beside a peer, or beside a bound, in one run."""
