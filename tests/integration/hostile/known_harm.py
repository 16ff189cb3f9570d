"""Attacks that still do harm to a server with its door, and what is missing. The suite leaves them out
(`run.py --known` plays them); a line goes when it is mended."""

BLOCKS = "who stops in the middle of a frame or of a header block, or never calls, is not ended in 15 s"
CALLS = "one address may have all calls that the server has at the same time"
DESCRIPTORS = "limits of connections are not what the descriptors bear"
ACCEPTING = "thousands of connections a second wait in line, and honest ones behind them"
ANSWERS = "what nobody reads is held for longer than 15 s"
MEMORY = "memory that was freed is not given back"
FAIRNESS = "who asks for most gets most, as long as nobody says who he is"

KNOWN = {
    "endless_header_blocks": BLOCKS, "half_frames": BLOCKS, "connections_without_calls": BLOCKS,
    "unknown_methods": CALLS, "calls_without_a_message": CALLS, "idle_score_streams": CALLS,
    "health_watches": CALLS,
    "more_connections_than_descriptors": DESCRIPTORS, "more_hosts_than_descriptors": DESCRIPTORS,
    "idle_connections_for_all_descriptors": DESCRIPTORS,
    "closed_at_once": ACCEPTING, "reset_at_once": ACCEPTING, "gone_with_a_call": ACCEPTING,
    "unread_tokens": ANSWERS, "unread_scores": ANSWERS, "nothing_is_read": ANSWERS,
    "half_messages": MEMORY, "rapid_reset_on_many": MEMORY,
    "unread_streams_for_all_slots": FAIRNESS, "more_streams_than_fit": FAIRNESS, "highest_priority": FAIRNESS,
}
