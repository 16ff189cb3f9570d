#include "model/transform/convert/name_mapping.h"

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

std::optional<NameMapping::Renamed> NameMapping::Rename(absl::string_view name) const {
  for (size_t i = 0; i < patterns_.size(); ++i) {
    if (std::optional<std::string> renamed = patterns_[i].Rename(name)) {
      return Renamed{*std::move(renamed), i};
    }
  }
  return std::nullopt;
}

}  // namespace peerage::transform
