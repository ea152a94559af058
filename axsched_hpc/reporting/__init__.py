"""What people look at: tables from the journal, without Ax."""
