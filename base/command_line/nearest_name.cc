#include "base/command_line/nearest_name.h"

#include <algorithm>

#include "absl/strings/str_cat.h"

namespace peerage {
namespace {

// The optimal string alignment distance: Levenshtein's, where swapping neighbours is one step too.
size_t Distance(absl::string_view a, absl::string_view b) {
  std::vector<std::vector<size_t>> steps(a.size() + 1, std::vector<size_t>(b.size() + 1));
  for (size_t i = 0; i <= a.size(); ++i) steps[i][0] = i;
  for (size_t j = 0; j <= b.size(); ++j) steps[0][j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    for (size_t j = 1; j <= b.size(); ++j) {
      steps[i][j] = std::min({steps[i - 1][j] + 1, steps[i][j - 1] + 1,
                              steps[i - 1][j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1)});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) {
        steps[i][j] = std::min(steps[i][j], steps[i - 2][j - 2] + 1);
      }
    }
  }
  return steps[a.size()][b.size()];
}

}  // namespace

std::string NearestName(absl::string_view given, const std::vector<std::string>& names) {
  constexpr size_t kLongest = 64;  // nobody means a name of ours by more
  if (given.size() > kLongest) return "";
  std::string nearest;
  size_t fewest = kLongest;
  for (const std::string& name : names) {
    const size_t distance = Distance(given, name);
    if (distance < fewest && distance * 3 <= std::max(given.size(), name.size())) {
      fewest = distance;
      nearest = name;
    }
  }
  return nearest;
}

std::string DidYouMean(absl::string_view given, const std::vector<std::string>& names) {
  const std::string nearest = NearestName(given, names);
  return nearest.empty() ? "" : absl::StrCat("; did you mean ", nearest, "?");
}

}  // namespace peerage
