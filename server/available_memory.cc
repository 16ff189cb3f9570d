#include "server/available_memory.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <optional>

#include "absl/strings/numbers.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"

namespace peerage {
namespace {

namespace fs = std::filesystem;

// The number that follows `key` at the start of a line: "MemAvailable:  12 kB", "inactive_file 7".
std::optional<int64_t> ReadKey(const fs::path& path, absl::string_view key) {
  std::ifstream file(path);
  std::string word;
  for (std::string line; std::getline(file, line);) {
    const std::vector<absl::string_view> words = absl::StrSplit(line, ' ', absl::SkipEmpty());
    int64_t number = 0;
    if (words.size() >= 2 && words[0] == key && absl::SimpleAtoi(words[1], &number)) return number;
  }
  return std::nullopt;
}

std::optional<int64_t> ReadNumber(const fs::path& path) {
  std::ifstream file(path);
  std::string text;
  int64_t number = 0;
  // cgroup v2 writes "max" for no limit.
  if (!(file >> text) || !absl::SimpleAtoi(text, &number)) return std::nullopt;
  return number;
}

// One version's names inside a group's folder.
struct CgroupFiles {
  const char* mount;
  const char* limit;
  const char* usage;
  const char* reclaimable;  // in memory.stat
};

constexpr CgroupFiles kVersion1 = {"sys/fs/cgroup/memory", "memory.limit_in_bytes",
                                   "memory.usage_in_bytes", "total_inactive_file"};
constexpr CgroupFiles kVersion2 = {"sys/fs/cgroup", "memory.max", "memory.current",
                                   "inactive_file"};

// What the group and every group around it leave; a limit of a parent binds its children.
int64_t CgroupLeaves(const fs::path& root, const CgroupFiles& files, fs::path group) {
  int64_t leaves = INT64_MAX;
  for (;; group = group.parent_path()) {
    const fs::path folder = root / files.mount / group.relative_path();
    const std::optional<int64_t> limit = ReadNumber(folder / files.limit);
    const std::optional<int64_t> usage = ReadNumber(folder / files.usage);
    if (limit && usage) {
      const int64_t cache = ReadKey(folder / "memory.stat", files.reclaimable).value_or(0);
      leaves = std::min(leaves, std::max<int64_t>(0, *limit - *usage + cache));
    }
    if (!group.has_relative_path()) return leaves;
  }
}

}  // namespace

int64_t AvailableMemory(const std::string& root) {
  const fs::path base = root;
  const int64_t kibibytes = ReadKey(base / "proc/meminfo", "MemAvailable:").value_or(0);
  int64_t available = kibibytes * 1024;
  std::ifstream groups(base / "proc/self/cgroup");
  // HIERARCHY:CONTROLLERS:PATH, version 2 without controllers.
  for (std::string line; std::getline(groups, line);) {
    const std::vector<std::string> fields = absl::StrSplit(line, absl::MaxSplits(':', 2));
    if (fields.size() != 3) continue;
    const std::vector<absl::string_view> controllers = absl::StrSplit(fields[1], ',');
    if (fields[1].empty()) {
      available = std::min(available, CgroupLeaves(base, kVersion2, fields[2]));
    } else if (std::find(controllers.begin(), controllers.end(), "memory") != controllers.end()) {
      available = std::min(available, CgroupLeaves(base, kVersion1, fields[2]));
    }
  }
  return available;
}

}  // namespace peerage
