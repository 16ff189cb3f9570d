#include "model/tokenizer/chat_template.h"

#include <algorithm>
#include <array>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"
#include "base/error_text.h"
#include "base/status_macros.h"
#include "model/tokenizer/jinja.h"
#include "model/tokenizer/tokenizer.h"

namespace peerage {
namespace {

constexpr std::array<absl::string_view, 3> kTriedRoles = {"system", "user", "assistant"};
constexpr int kMaxTurns = 3;

std::string Turn(absl::string_view role, absl::string_view content) {
  return absl::StrCat(ChatMl::kTurnStart, role, "\n", content, ChatMl::kTurnEnd, "\n");
}

std::string Expected(const ChatMl& chat_ml, const std::vector<ChatTurn>& turns) {
  std::string text;
  if (chat_ml.default_system.has_value() && turns[0].role != "system") {
    text += Turn("system", *chat_ml.default_system);
  }
  for (const ChatTurn& turn : turns) text += Turn(turn.role, turn.content);
  return absl::StrCat(text, ChatMl::kTurnStart, "assistant\n");
}

// All sequences of 1 to kMaxTurns roles. White space around a content shows whether it is kept.
std::vector<std::vector<ChatTurn>> Conversations() {
  std::vector<std::vector<ChatTurn>> all;
  std::vector<std::vector<ChatTurn>> longest = {{}};
  for (int turn = 0; turn < kMaxTurns; ++turn) {
    std::vector<std::vector<ChatTurn>> longer;
    for (const std::vector<ChatTurn>& turns : longest) {
      for (absl::string_view role : kTriedRoles) {
        longer.push_back(turns);
        longer.back().push_back({std::string(role), absl::StrCat(" \ncontent ", turn, "\n ")});
      }
    }
    all.insert(all.end(), longer.begin(), longer.end());
    longest = std::move(longer);
  }
  return all;
}

std::string RolesOf(const std::vector<ChatTurn>& turns) {
  return absl::StrJoin(turns, ", ",
                       [](std::string* out, const ChatTurn& turn) { out->append(turn.role); });
}

// Shows where the two texts part.
absl::Status NotChatMl(const std::vector<ChatTurn>& turns, absl::string_view rendered,
                       absl::string_view expected) {
  constexpr size_t kBefore = 16, kShown = 48;
  const size_t common =
      std::mismatch(rendered.begin(), rendered.end(), expected.begin(), expected.end()).first -
      rendered.begin();
  const size_t first = common - std::min(common, kBefore);
  return absl::UnimplementedError(absl::StrCat(
      "with messages of ", RolesOf(turns), " it gives ", Quoted(rendered.substr(first, kShown)),
      " at byte ", first, ", where ChatML has ", Quoted(expected.substr(first, kShown))));
}

// What a lone user's conversation has before the user's turn.
absl::StatusOr<ChatMl> FindDefaultSystem(absl::string_view jinja_template) {
  const std::vector<ChatTurn> turns = {{"user", "content"}};
  ASSIGN_OR_RETURN(const std::string rendered, RenderJinja(jinja_template, turns));
  absl::string_view before = rendered;
  ChatMl chat_ml;
  if (!absl::ConsumeSuffix(&before, Expected(chat_ml, turns))) {
    return NotChatMl(turns, rendered, Expected(chat_ml, turns));
  }
  if (before.empty()) return chat_ml;
  if (!absl::ConsumePrefix(&before, absl::StrCat(ChatMl::kTurnStart, "system\n")) ||
      !absl::ConsumeSuffix(&before, absl::StrCat(ChatMl::kTurnEnd, "\n")) ||
      before.find("<|") != absl::string_view::npos) {
    return absl::UnimplementedError(absl::StrCat("before a user's message it puts ", Quoted(before),
                                                 ", which is not one system message"));
  }
  chat_ml.default_system = std::string(before);
  return chat_ml;
}

}  // namespace

absl::StatusOr<ChatMl> RecogniseChatMl(absl::string_view jinja_template) {
  ASSIGN_OR_RETURN(ChatMl chat_ml, FindDefaultSystem(jinja_template));
  for (const std::vector<ChatTurn>& turns : Conversations()) {
    ASSIGN_OR_RETURN(const std::string rendered, RenderJinja(jinja_template, turns));
    const std::string expected = Expected(chat_ml, turns);
    if (rendered != expected) return NotChatMl(turns, rendered, expected);
  }
  return chat_ml;
}

}  // namespace peerage
