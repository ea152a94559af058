"""Output extraction: metrics that stand in what a program writes, for programs that write no metrics file."""
