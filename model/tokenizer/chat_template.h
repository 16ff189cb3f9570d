#pragma once

#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace peerage {

// The ChatML format: every turn is "<|im_start|>ROLE\nCONTENT<|im_end|>\n", and the assistant's
// turn is opened with "<|im_start|>assistant\n".
struct ChatMl {
  static constexpr absl::string_view kName = "chatml";
  static constexpr absl::string_view kTurnStart = "<|im_start|>";
  static constexpr absl::string_view kTurnEnd = "<|im_end|>";

  // The system message of conversations that do not begin with one.
  std::optional<std::string> default_system;
};

// Decides by behaviour: the Jinja template is run on every sequence of up to three roles, and is
// ChatML when all the results are. Otherwise UNIMPLEMENTED or INVALID_ARGUMENT says what was not
// understood.
absl::StatusOr<ChatMl> RecogniseChatMl(absl::string_view jinja_template);

}  // namespace peerage
