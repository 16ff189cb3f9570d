"""Attacks that still do harm to a server with its door, and what is missing. The suite leaves them out
(`run.py --known` plays them); a line goes when it is mended."""

CROWD = "two hundred addresses at once may have all connections that there are"

KNOWN = {
    "more_hosts_than_descriptors": CROWD,
}
