"""The load path: arrivals fixed in advance, a thin sender in processes of its own, and honest figures of both."""
