#include "staging.h"

#include <algorithm>
#include <cstring>

namespace standin {
namespace {

uint64_t Hash(const HostSpan& span) {
  constexpr uint64_t kMultiplier = 0x9e3779b97f4a7c15;
  uint64_t hash = span.width;
  for (size_t row = 0; row < span.height; ++row) {
    const uint8_t* at = span.data + row * span.pitch;
    for (size_t i = 0; i < span.width; i += 8) {
      uint64_t word = 0;
      std::memcpy(&word, at + i, std::min<size_t>(8, span.width - i));
      hash = (hash ^ word) * kMultiplier;
      hash ^= hash >> 29;
    }
  }
  return hash;
}

bool OverlapsAny(const HostSpan& span, const std::vector<HostSpan>& others) {
  return std::any_of(others.begin(), others.end(),
                     [&](const HostSpan& other) { return span.Overlaps(other); });
}

void RemoveOne(std::vector<HostSpan>& spans, const HostSpan& span) {
  const auto found = std::find_if(spans.begin(), spans.end(), [&](const HostSpan& other) {
    return other.data == span.data && other.end() == span.end();
  });
  if (found != spans.end()) spans.erase(found);
}

}  // namespace

Staging::Watch Staging::Queue(HostAccess access) {
  Watch watch;
  for (const HostSpan& span : access.reads) {
    const bool watched = host_functions_ == 0 && !OverlapsAny(span, writes_);
    watch.hashes.push_back(watched ? std::optional(Hash(span)) : std::nullopt);
    reads_.push_back(span);
  }
  for (const HostSpan& span : access.writes) {
    for (size_t row = 0; row < span.height && !OverlapsAny(span, reads_); ++row) {
      std::memset(span.data + row * span.pitch, 0xff, span.width);
    }
    writes_.push_back(span);
  }
  host_functions_ += access.calls_host;
  watch.access = std::move(access);
  return watch;
}

std::string Staging::Run(const Watch& watch) {
  bool changed = false;
  for (size_t i = 0; i < watch.access.reads.size(); ++i) {
    const HostSpan& span = watch.access.reads[i];
    changed |= watch.hashes[i].has_value() && *watch.hashes[i] != Hash(span);
    RemoveOne(reads_, span);
  }
  for (const HostSpan& span : watch.access.writes) RemoveOne(writes_, span);
  host_functions_ -= watch.access.calls_host;
  return changed ? "pinned memory was changed after its copy was queued and before it was made"
                 : "";
}

}  // namespace standin
