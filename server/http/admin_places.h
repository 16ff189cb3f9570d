#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

#include "absl/time/time.h"
#include "absl/types/span.h"

namespace peerage {

// A connection to the admin port, as far as it matters for who makes place for another one.
struct AdminPlace {
  enum class Stage {
    kAsking,     // its request is not there yet
    kAnswering,  // and this one is kept
    kAnswered,   // it waits for its client's end
  };

  uint64_t id = 0;
  std::string peer;
  Stage stage = Stage::kAsking;
  absl::Time since;  // of kAsking and kAnswered
};

struct AdminPlaceLimits {
  size_t all = 256;
  // So that a probe gets in whatever other machines do. Its own may be one of a proxy, or have
  // somebody who connects and says nothing, and so nobody is refused while another one of the same
  // peer can make place.
  size_t of_peer = 64;
};

// Whether somebody of `peer` may come in, and who has to go for that, if anybody: of those who have
// had their answer, whoever had it first; else, of those who ask nothing, whoever came first. The
// peer with the most connections makes place for others.
struct Admission {
  bool may_come = true;
  std::optional<uint64_t> goes = std::nullopt;
};
Admission Admit(const std::string& peer, absl::Span<const AdminPlace> places,
                const AdminPlaceLimits& limits = {});

}  // namespace peerage
