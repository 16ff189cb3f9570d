#include "server/metrics/text_exposition.h"

#include <prometheus/metric_family.h>
#include <prometheus/text_serializer.h>

#include <iterator>
#include <utility>
#include <vector>

namespace peerage {

std::string TextExposition(absl::Span<const prometheus::Collectable* const> collectables) {
  std::vector<prometheus::MetricFamily> all;
  for (const prometheus::Collectable* collectable : collectables) {
    std::vector<prometheus::MetricFamily> families = collectable->Collect();
    all.insert(all.end(), std::make_move_iterator(families.begin()),
               std::make_move_iterator(families.end()));
  }
  return prometheus::TextSerializer().Serialize(all);
}

std::string YoungText::Get(absl::FunctionRef<std::string()> write) {
  absl::MutexLock lock(&mu_);
  const absl::Time now = clock_.Now();
  if (now - written_ >= kMaxAge) {
    text_ = write();
    written_ = now;
  }
  return text_;
}

}  // namespace peerage
