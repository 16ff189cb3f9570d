#include "model/tokenizer/jinja_cursor.h"

#include "model/tokenizer/jinja_value.h"
#include "model/tokenizer/text.h"

namespace peerage {

bool JinjaCursor::Take(Kind kind, std::string_view text) {
  if (Peek().kind != kind || Peek().text != text) return false;
  Advance();
  return true;
}

bool JinjaCursor::TakeTag(std::string_view name) {
  if (Peek().kind != Kind::kOpenBlock || PeekNext().kind != Kind::kName ||
      PeekNext().text != name) {
    return false;
  }
  at_ += 2;
  return true;
}

absl::Status JinjaCursor::Expect(Kind kind, std::string_view text) {
  if (Take(kind, text)) return absl::OkStatus();
  return UnsupportedInJinja(Concat("\"", Peek().text, "\" where \"", text, "\" is expected"));
}

absl::StatusOr<std::string> JinjaCursor::ExpectName() {
  if (Peek().kind != Kind::kName) return UnsupportedInJinja("no name where one is expected");
  return tokens_[at_++].text;
}

}  // namespace peerage
