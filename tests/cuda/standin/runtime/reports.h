#pragma once

#include <set>
#include <string>

namespace standin {

// What a device would not notice and the stand-in did: races, reads of what nobody wrote, a staging
// buffer reused too early, a call that is not supported. Each is printed when it is first seen, and
// kept until a test takes it.
class Reports {
 public:
  void Add(const std::string& report);
  void Add(const std::set<std::string>& reports);
  // Takes one; empty when there is none left.
  std::string Take();
  bool empty() const { return kept_.empty(); }
  void Print() const;

 private:
  std::set<std::string> kept_;
};

}  // namespace standin
