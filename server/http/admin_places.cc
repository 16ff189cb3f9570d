#include "server/http/admin_places.h"

#include <algorithm>
#include <map>
#include <tuple>

namespace peerage {
namespace {

using Stage = AdminPlace::Stage;

// Whether the first one rather goes than the second.
bool GoesBefore(const AdminPlace& first, const AdminPlace& second) {
  const auto rank = [](const AdminPlace& place) {
    return std::make_tuple(place.stage != Stage::kAnswered, place.since, place.id);
  };
  return rank(first) < rank(second);
}

// Of one peer, or of all of them.
std::optional<uint64_t> WhoGoes(absl::Span<const AdminPlace> places, const std::string* peer) {
  const AdminPlace* goes = nullptr;
  for (const AdminPlace& place : places) {
    if (place.stage == Stage::kAnswering || (peer != nullptr && place.peer != *peer)) continue;
    if (goes == nullptr || GoesBefore(place, *goes)) goes = &place;
  }
  return goes == nullptr ? std::nullopt : std::optional(goes->id);
}

}  // namespace

Admission Admit(const std::string& peer, absl::Span<const AdminPlace> places,
                const AdminPlaceLimits& limits) {
  std::map<std::string, size_t> counts;
  for (const AdminPlace& place : places) ++counts[place.peer];
  std::optional<uint64_t> goes;
  if (counts[peer] >= limits.of_peer) {
    goes = WhoGoes(places, &peer);
  } else if (places.size() < limits.all) {
    return {};
  } else {
    const auto most =
        std::max_element(counts.begin(), counts.end(),
                         [](const auto& a, const auto& b) { return a.second < b.second; });
    goes = WhoGoes(places, &most->first);
    if (!goes.has_value()) goes = WhoGoes(places, nullptr);
  }
  return {.may_come = goes.has_value(), .goes = goes};
}

}  // namespace peerage
