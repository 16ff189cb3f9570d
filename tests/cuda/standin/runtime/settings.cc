#include "settings.h"

#include <charconv>
#include <functional>
#include <map>
#include <stdexcept>

#include "errors.h"

namespace standin {
namespace {

[[noreturn]] void Refuse(const std::string& why) { throw std::invalid_argument(why); }

uint64_t Number(const std::string& value, uint64_t least, uint64_t most) {
  uint64_t number = 0;
  const char* end = value.data() + value.size();
  const auto [stop, error] = std::from_chars(value.data(), end, number);
  if (error != std::errc() || stop != end || number < least || number > most) {
    Refuse("a number from " + std::to_string(least) + " to " + std::to_string(most) + " is wanted");
  }
  return number;
}

template <typename T>
T OneOf(const std::string& value, const std::map<std::string, T>& choices) {
  if (const auto found = choices.find(value); found != choices.end()) return found->second;
  std::string names;
  for (const auto& [name, choice] : choices) names += (names.empty() ? "" : ", ") + name;
  Refuse("one of " + names + " is wanted");
}

bool Flag(const std::string& value) { return OneOf<bool>(value, {{"0", false}, {"1", true}}); }

Failure ParseFailure(const std::string& value) {
  const size_t a = value.find(':'), b = value.find(':', a + 1);
  if (a == std::string::npos || b == std::string::npos) {
    Refuse("FUNCTION:ERROR:AFTER is wanted");
  }
  const std::string error = value.substr(a + 1, b - a - 1);
  const int named = ErrorOfName(error);
  return {value.substr(0, a), named > 0 ? named : static_cast<int>(Number(error, 1, 9999)),
          static_cast<int>(Number(value.substr(b + 1), 0, INT32_MAX))};
}

using Setter = std::function<void(const std::string&, Settings&)>;

const std::map<std::string, Setter>& Setters() {
  static const std::map<std::string, Setter> setters = {
      {"memory", [](auto& v, auto& s) { s.memory_bytes = Number(v, 1 << 16, uint64_t{1} << 39); }},
      {"devices", [](auto& v, auto& s) { s.devices = static_cast<int>(Number(v, 0, 16)); }},
      {"schedule",
       [](auto& v, auto& s) {
         s.schedule = OneOf<Schedule>(v, {{"eager", Schedule::kEager},
                                          {"lazy", Schedule::kLazy},
                                          {"random", Schedule::kRandom}});
       }},
      {"seed", [](auto& v, auto& s) { s.execution.seed = Number(v, 0, UINT64_MAX); }},
      {"threads",
       [](auto& v, auto& s) { s.execution.threads = static_cast<int>(Number(v, 1, 64)); }},
      {"target", [](auto& v, auto& s) { s.target = static_cast<int>(Number(v, 80, 90)); }},
      {"check",
       [](auto& v, auto& s) {
         s.execution.check_shared = s.execution.check_global = s.execution.count = Flag(v);
       }},
      {"trace", [](auto& v, auto& s) { s.trace = Flag(v); }},
      {"reports",
       [](auto& v, auto& s) {
         s.fail_on_reports = OneOf<bool>(v, {{"fail", true}, {"print", false}});
       }},
      {"leaks",
       [](auto& v, auto& s) {
         s.print_leaks = OneOf<bool>(v, {{"print", true}, {"ignore", false}});
       }},
      {"fail", [](auto& v, auto& s) { s.failures.push_back(ParseFailure(v)); }},
  };
  return setters;
}

void ApplyItem(const std::string& item, Settings& settings) {
  const size_t equals = item.find('=');
  const auto setter = Setters().find(item.substr(0, equals));
  try {
    if (equals == std::string::npos || setter == Setters().end()) Refuse("it is not known");
    setter->second(item.substr(equals + 1), settings);
  } catch (const std::invalid_argument& error) {
    Refuse("setting \"" + item + "\": " + error.what());
  }
}

}  // namespace

void Apply(const std::string& list, Settings& settings) {
  for (size_t begin = 0; begin < list.size();) {
    const size_t end = std::min(list.find(',', begin), list.size());
    if (end > begin) ApplyItem(list.substr(begin, end - begin), settings);
    begin = end + 1;
  }
}

}  // namespace standin
