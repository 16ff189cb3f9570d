#pragma once

#include <cstddef>

#include "absl/time/time.h"
#include "base/token_bucket.h"

namespace peerage {

// What one connection may do. The numbers are far above what gRPC's clients in any language do, and
// far below what hurts.
struct FrameLimits {
  // With the heads of its frames. gRPC 1.51 takes 8 KiB of headers, and reads a string that grows
  // over many frames from its start each time.
  size_t header_block_bytes = 16 << 10;
  size_t streams = 512;  // what the server's SETTINGS allow; see kMaxStreamsPerConnection
  // Clients cancel calls in the ordinary course of things, such as all they have when they stop.
  // One that has lasted so long, or of which the answer has begun, has cost what calls cost, and as
  // many may be cancelled as there may be: a gateway cancels for all who are behind it. Those that
  // are cancelled in haste cost gRPC 20 kB each, which it does not give back soon.
  absl::Duration haste = absl::Seconds(1);
  TokenBucket::Limits resets{.at_once = 600, .per_second = 100};
  // Of these, so many never wait for those of other connections (reset_turns.h): whoever cancels a
  // call now and then notices nothing of somebody who cancels thousands.
  TokenBucket::Limits resets_without_wait{.at_once = 10, .per_second = 1};
  // Clients that measure the bandwidth set their window anew.
  TokenBucket::Limits settings{.at_once = 100, .per_second = 10};
  // They do so with pings, about one each round trip while data comes, and credit data as it comes:
  // so what the server sends allows more of both.
  TokenBucket::Limits pings{.at_once = 1000, .per_second = 20};
  double pings_per_frame = 1;
  TokenBucket::Limits window_updates{.at_once = 4000, .per_second = 100};
  double window_updates_per_frame = 4;
  // gRPC's clients have no use for the rest.
  TokenBucket::Limits priorities{.at_once = 200, .per_second = 10};
  TokenBucket::Limits empty_data{.at_once = 200, .per_second = 10};
  TokenBucket::Limits stray_frames{.at_once = 200, .per_second = 10};
  // Calls turned away, each of which costs gRPC a little.
  TokenBucket::Limits calls_turned_away{.at_once = 1000, .per_second = 100};

  // All of these are times in which the client is listened to (listening_time.h).
  absl::Duration handshake = absl::Seconds(5);
  absl::Duration acknowledgement = absl::Seconds(20);
  absl::Duration first_call = absl::Minutes(1);
  // Of a frame, or a header block of several.
  absl::Duration frame = absl::Seconds(20);
  absl::Duration idle = absl::Minutes(20);  // gRPC itself says goodbye after 15

  // For so long at a time a client is excused because the server does not take what it sent. Not
  // for longer: half messages of the same client may be what fills the server's memory.
  absl::Duration excuse = absl::Minutes(1);
};

}  // namespace peerage
