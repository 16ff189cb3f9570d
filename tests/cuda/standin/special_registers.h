// Registers that the launch fills.
#pragma once

#include <iterator>
#include <string_view>

namespace ptx {

inline constexpr std::string_view kSpecials[] = {
    "%tid.x",       "%tid.y",       "%tid.z",
    "%ntid.x",      "%ntid.y",      "%ntid.z",
    "%ctaid.x",     "%ctaid.y",     "%ctaid.z",
    "%nctaid.x",    "%nctaid.y",    "%nctaid.z",
    "%laneid",      "%warpid",      "%nwarpid",
    "%lanemask_eq", "%lanemask_le", "%lanemask_lt",
    "%lanemask_ge", "%lanemask_gt", "%dynamic_smem_size"};
inline constexpr int kSpecialCount = static_cast<int>(std::size(kSpecials));

}  // namespace ptx
