#include "reports.h"

#include <cstdio>

namespace standin {

void Reports::Add(const std::string& report) {
  if (kept_.insert(report).second) std::fprintf(stderr, "cuda stand-in: %s\n", report.c_str());
}

void Reports::Add(const std::set<std::string>& reports) {
  for (const std::string& report : reports) Add(report);
}

std::string Reports::Take() {
  if (kept_.empty()) return {};
  return kept_.extract(kept_.begin()).value();
}

void Reports::Print() const {
  std::fprintf(stderr, "cuda stand-in: %zu reports that nobody took:\n", kept_.size());
  for (const std::string& report : kept_) std::fprintf(stderr, "  %s\n", report.c_str());
}

}  // namespace standin
