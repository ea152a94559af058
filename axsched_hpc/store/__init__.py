"""What is kept: the journal, the lock of the driver, the snapshot."""
