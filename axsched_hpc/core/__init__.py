"""The pure part: states, transitions, decisions. Imports nothing but the standard library; touches no file,
clock or process.
"""
