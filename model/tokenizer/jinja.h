#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "model/tokenizer/tokenizer.h"

namespace peerage {

// Renders a chat template with add_generation_prompt, in the subset of Jinja that templates of
// plain conversations need: for, if/elif/else, set; ==, !=, in, and, or, not, +, ~; attributes,
// indices, slices from a start, loop.*; tests defined, none, string, true and false.
//
// The contents of messages may be printed and joined, not looked into: so a template that renders
// is known to treat all contents alike. The same holds for what only the model's other files define
// (bos_token). Anything else is UNIMPLEMENTED, but only where rendering comes by: branches that are
// not taken need only be well formed.
//
// Cost: bounded (1 MiB of template, 64 nested tags and expressions, 1e6 steps, 16 MiB joined and
// 16 MiB printed).
absl::StatusOr<std::string> RenderJinja(absl::string_view jinja_template,
                                        absl::Span<const ChatTurn> messages);

}  // namespace peerage
