"""Attacks that still do harm to a server with its door, and what is missing. The suite leaves them out
(`run.py --known` plays them); a line goes when it is mended."""

CROWD = "two hundred addresses may have all of few connections while they connect thousands of times a second"

KNOWN = {
    "more_hosts_than_descriptors": CROWD,
}
