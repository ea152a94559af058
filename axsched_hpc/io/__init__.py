"""Files: where they lie, how they are written whole, and their formats. Loaded by every job, so it imports
only what it needs.
"""
