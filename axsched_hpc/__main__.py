"""``python -m axsched_hpc`` is the command ``axsched``."""

from axsched_hpc.cli import main

if __name__ == "__main__":
    main()
