#include "model/transform/convert/name_mapping.h"

#include <algorithm>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "base/error_text.h"

namespace peerage::transform {

absl::StatusOr<NameMapping> NameMapping::Parse(absl::string_view text) {
  NameMapping mapping;
  int number = 0;
  for (absl::string_view line : absl::StrSplit(text, '\n')) {
    ++number;
    line = absl::StripAsciiWhitespace(line.substr(0, line.find('#')));
    if (line.empty()) continue;
    absl::StatusOr<NamePattern> pattern = NamePattern::Parse(line);
    if (!pattern.ok()) return At(absl::StrCat("line ", number), pattern.status());
    mapping.patterns_.push_back(*std::move(pattern));
  }
  return mapping;
}

NameMapping::Renamed NameMapping::Rename(absl::string_view name) const {
  Renamed renamed{.names = {std::string(name)}};
  const bool only_goes_on = std::all_of(patterns_.begin(), patterns_.end(),
                                        [](const NamePattern& p) { return p.goes_on(); });
  for (size_t i = 0; i < patterns_.size(); ++i) {
    std::optional<std::vector<std::string>> names = patterns_[i].Rename(renamed.names.front());
    if (!names.has_value()) continue;
    renamed.names = *std::move(names);
    renamed.patterns.push_back(i);
    renamed.matched = only_goes_on || !patterns_[i].goes_on();
    if (!patterns_[i].goes_on()) break;
  }
  return renamed;
}

}  // namespace peerage::transform
