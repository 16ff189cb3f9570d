"""Attacks that still do harm to a server with its door, and what is missing. The suite leaves them out
(`run.py --known` plays them); a line goes when it is mended."""

FRAMES = "the door does not judge frames"
LIMITS = "the door does not count connections and calls"
ADMIN = "the admin port has no door"
ANSWERS = "what is not read is held for too long"
FAIRNESS = "who asks for most gets most, as long as there is no identity"

KNOWN = {
    "long_header_alone": FRAMES, "long_header_four_times": FRAMES, "long_header_in_crumbs": FRAMES,
    "empty_continuations": FRAMES, "endless_header_blocks": FRAMES, "half_frames": FRAMES,
    "unknown_methods": FRAMES, "rapid_reset": FRAMES, "rapid_reset_of_requests": FRAMES,
    "rapid_reset_on_many": FRAMES, "made_to_reset": FRAMES, "never_acknowledges": FRAMES, "settings_flood": FRAMES,
    "large_settings_flood": FRAMES, "window_settings_flood": FRAMES, "ping_flood": FRAMES,
    "unread_ping_flood": FRAMES, "priority_flood": FRAMES, "window_update_flood": FRAMES,
    "stream_window_update_flood": FRAMES, "empty_data_flood": FRAMES, "padding_flood": FRAMES,
    "late_reset_flood": FRAMES, "deadlines_of_1_ms": FRAMES, "deadlines_of_1_us": FRAMES,
    "half_messages": LIMITS, "calls_without_a_message": LIMITS, "idle_score_streams": LIMITS,
    "health_watches": LIMITS, "left_watches": LIMITS, "more_connections_than_descriptors": LIMITS,
    "more_hosts_than_descriptors": LIMITS, "idle_connections_for_all_descriptors": LIMITS,
    "silent_connections": LIMITS, "connections_without_calls": LIMITS, "dripped_prefaces": LIMITS,
    "gone_with_a_call": LIMITS, "busy_connections": LIMITS,
    "idle_admin_connections_for_all_descriptors": ADMIN, "three_dripped_requests": ADMIN,
    "many_dripped_requests": ADMIN, "dripped_forms": ADMIN, "idle_admin_connections": ADMIN, "kept_alive": ADMIN,
    "large_form": ADMIN, "unread_metrics": ADMIN, "endless_admin_requests": ADMIN,
    "unread_tokens": ANSWERS, "unread_scores": ANSWERS, "unread_summaries": ANSWERS, "unread_health": ANSWERS,
    "nothing_is_read": ANSWERS, "expert_usage_resets": ANSWERS, "large_invalid_requests": ANSWERS,
    "large_texts": ANSWERS, "tokenize_flood": ANSWERS,
    "unread_streams_for_all_slots": FAIRNESS, "dripped_streams_for_all_slots": FAIRNESS,
    "more_streams_than_fit": FAIRNESS, "highest_priority": FAIRNESS, "large_scores": FAIRNESS,
}
