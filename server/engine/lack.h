#pragma once

namespace peerage {

// What a task lacks of its needs: sequences, before blocks.
enum class Lack { kNothing, kSequences, kBlocks };

}  // namespace peerage
