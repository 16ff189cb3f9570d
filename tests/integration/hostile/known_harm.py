"""Attacks that still do harm to a server with its door, and what is missing. The suite leaves them out
(`run.py --known` plays them); a line goes when it is mended."""

CROWD = "two hundred addresses at once may have all connections that there are"
FAIRNESS = "who asks for most gets most, as long as nobody says who he is"

KNOWN = {
    "more_hosts_than_descriptors": CROWD,
    "unread_streams_for_all_slots": FAIRNESS, "more_streams_than_fit": FAIRNESS, "highest_priority": FAIRNESS,
}
