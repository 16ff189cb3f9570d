#pragma once

namespace peerage {

// The project's version, set once in the root CMakeLists.txt.
inline constexpr char kVersion[] = PEERAGE_VERSION;

}  // namespace peerage
