#pragma once

#include <cstdint>
#include <deque>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"

namespace peerage {

enum class PickleKind : uint8_t {
  kNone,
  kBool,
  kInteger,  // of 64 bits
  kNumber,   // a float, or an integer of more bits: its value is not kept
  kString,
  kBytes,
  kTuple,
  kList,
  kSet,
  kDict,
  kGlobal,      // a class or function of Python, by name
  kCall,        // what calling a global would give; nothing is called
  kPersistent,  // what whoever wrote the pickle keeps elsewhere
};

// One value of a pickle. Others are meant by their index in PickleContents::values, and may contain
// each other in circles.
struct PickleValue {
  PickleKind kind = PickleKind::kNone;
  bool makes_object = false;  // kCall: of a class, for an instance of it
  int64_t integer = 0;        // kBool, kInteger
  absl::string_view text;     // kString, kBytes; kGlobal: "collections.OrderedDict"
  uint32_t callee = 0;        // kCall: a kGlobal
  uint32_t arguments = 0;     // kCall: a kTuple
  // kTuple, kList, kSet: the elements. kDict: each key and its value. kCall: what was put into the
  // new object, elements or keys and values. kPersistent: the one value that tells what is meant.
  std::vector<uint32_t> items;
  std::vector<uint32_t> states;  // kCall, kDict: what the object's attributes were set from
  uint64_t offset = 0;           // of the instruction that made it, from the pickle's start
};

struct PickleContents {
  std::vector<PickleValue> values;
  uint32_t root = 0;
  std::vector<uint8_t> bytes;       // the pickle itself; texts point into it
  std::deque<std::string> globals;  // texts of kGlobal point into it
};

struct PickleLimits {
  size_t max_values = size_t{4} << 20;
};

// Reads what a pickle of protocol 2 to 5 describes, in memory of the order of its length. Pickles
// are programs that call what they name; this reader calls nothing and knows no names: whoever
// reads the values decides which globals may occur. An instruction that plain values, objects and
// calls do not need is an error that names it and its offset. Format: Python's pickletools.py.
absl::StatusOr<PickleContents> ReadPickle(std::vector<uint8_t> bytes,
                                          const PickleLimits& limits = {});

}  // namespace peerage
