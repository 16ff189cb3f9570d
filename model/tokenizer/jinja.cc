#include "model/tokenizer/jinja.h"

#include <memory>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "base/status_macros.h"
#include "model/tokenizer/jinja_expression.h"
#include "model/tokenizer/jinja_lexer.h"
#include "model/tokenizer/jinja_value.h"

namespace peerage {
namespace {

using Kind = JinjaToken::Kind;
using List = JinjaValue::List;
using Object = JinjaValue::Object;

constexpr size_t kMaxTemplate = 1 << 20;
constexpr size_t kMaxPrinted = 1 << 24;
constexpr int kMaxNesting = 64;
constexpr int kMaxSteps = 1'000'000;

JinjaValue Messages(absl::Span<const ChatTurn> turns) {
  List list;
  for (const ChatTurn& turn : turns) {
    list.push_back({std::make_shared<const Object>(
        Object{{"role", {turn.role}}, {"content", {JinjaValue::Opaque{turn.content}}}})});
  }
  return {std::make_shared<const List>(std::move(list))};
}

// The variable "loop" of a round.
JinjaValue Loop(int64_t index, int64_t length) {
  return {std::make_shared<const Object>(Object{{"index", {index + 1}},
                                                {"index0", {index}},
                                                {"first", {index == 0}},
                                                {"last", {index + 1 == length}},
                                                {"length", {length}}})};
}

// Runs the tags of a template while it parses them. Where `active_` is false (a branch not taken),
// it only parses.
class Renderer {
 public:
  Renderer(const std::vector<JinjaToken>& tokens, absl::Span<const ChatTurn> messages)
      : cursor_(tokens), expressions_(cursor_, variables_) {
    variables_["messages"] = Messages(messages);
    variables_["add_generation_prompt"] = {true};
    variables_["tools"] = {JinjaValue::None()};
    variables_["documents"] = {JinjaValue::None()};
  }

  absl::StatusOr<std::string> Run() {
    RETURN_IF_ERROR(Body());
    if (cursor_.Peek().kind != Kind::kEnd) {
      return UnsupportedInJinja(absl::StrCat("tag ", cursor_.PeekNext().text));
    }
    return std::move(out_);
  }

 private:
  // Text, prints and blocks up to a tag that is none of them.
  absl::Status Body();
  absl::Status Nested(absl::Status (Renderer::*block)());
  absl::Status Append(absl::string_view text);
  absl::Status Print();
  absl::Status If();
  absl::StatusOr<bool> Condition();
  absl::Status For();
  absl::StatusOr<List> Iterated();
  absl::Status Set();
  absl::StatusOr<JinjaValue> Expression() { return expressions_.Evaluate(active_); }
  absl::Status CloseBlock() { return cursor_.Expect(Kind::kCloseBlock, ""); }

  JinjaCursor cursor_;
  JinjaExpressions::Variables variables_;
  JinjaExpressions expressions_;
  bool active_ = true;
  int nesting_ = 0;
  int steps_ = 0;
  std::string out_;
};

absl::Status Renderer::Body() {
  while (true) {
    if (++steps_ > kMaxSteps) return UnsupportedInJinja("too long a run");
    if (cursor_.Peek().kind == Kind::kText) {
      RETURN_IF_ERROR(Append(cursor_.Peek().text));
      cursor_.Advance();
    } else if (cursor_.Peek().kind == Kind::kOpenPrint) {
      RETURN_IF_ERROR(Print());
    } else if (cursor_.TakeTag("if")) {
      RETURN_IF_ERROR(Nested(&Renderer::If));
    } else if (cursor_.TakeTag("for")) {
      RETURN_IF_ERROR(Nested(&Renderer::For));
    } else if (cursor_.TakeTag("set")) {
      RETURN_IF_ERROR(Set());
    } else {
      return absl::OkStatus();
    }
  }
}

absl::Status Renderer::Nested(absl::Status (Renderer::*block)()) {
  if (++nesting_ > kMaxNesting) return UnsupportedInJinja("nested too deeply");
  RETURN_IF_ERROR((this->*block)());
  --nesting_;
  return absl::OkStatus();
}

absl::Status Renderer::Append(absl::string_view text) {
  if (!active_) return absl::OkStatus();
  if (text.size() > kMaxPrinted - out_.size()) return UnsupportedInJinja("too much text");
  absl::StrAppend(&out_, text);
  return absl::OkStatus();
}

absl::Status Renderer::Print() {
  cursor_.Advance();
  ASSIGN_OR_RETURN(const JinjaValue value, Expression());
  RETURN_IF_ERROR(cursor_.Expect(Kind::kClosePrint, ""));
  if (!active_) return absl::OkStatus();
  ASSIGN_OR_RETURN(const JinjaValue::Opaque text, value.Text());
  return Append(text.text);
}

absl::Status Renderer::If() {
  const bool outer = active_;
  bool decided = false;
  do {
    active_ = outer && !decided;
    ASSIGN_OR_RETURN(active_, Condition());
    decided = decided || active_;
    RETURN_IF_ERROR(Body());
  } while (cursor_.TakeTag("elif"));
  if (cursor_.TakeTag("else")) {
    RETURN_IF_ERROR(CloseBlock());
    active_ = outer && !decided;
    RETURN_IF_ERROR(Body());
  }
  active_ = outer;
  if (!cursor_.TakeTag("endif")) return UnsupportedInJinja("an if that does not end");
  return CloseBlock();
}

absl::StatusOr<bool> Renderer::Condition() {
  ASSIGN_OR_RETURN(const JinjaValue condition, Expression());
  RETURN_IF_ERROR(CloseBlock());
  return active_ ? condition.Truth() : false;
}

absl::Status Renderer::For() {
  ASSIGN_OR_RETURN(const std::string name, cursor_.ExpectName());
  RETURN_IF_ERROR(cursor_.Expect(Kind::kName, "in"));
  ASSIGN_OR_RETURN(const List items, Iterated());
  const size_t body = cursor_.position();
  const bool outer = active_;
  if (items.empty()) {
    active_ = false;
    RETURN_IF_ERROR(Body());
  }
  for (size_t i = 0; i < items.size(); ++i) {
    cursor_.ReturnTo(body);
    const JinjaExpressions::Variables outside = variables_;
    variables_[name] = items[i];
    variables_["loop"] = Loop(static_cast<int64_t>(i), static_cast<int64_t>(items.size()));
    RETURN_IF_ERROR(Body());
    variables_ = outside;
  }
  active_ = outer;
  if (!cursor_.TakeTag("endfor")) return UnsupportedInJinja("a for that does not end");
  return CloseBlock();
}

absl::StatusOr<List> Renderer::Iterated() {
  ASSIGN_OR_RETURN(const JinjaValue iterated, Expression());
  RETURN_IF_ERROR(CloseBlock());
  if (!active_) return List();
  const List* list = iterated.AsList();
  if (list == nullptr) return UnsupportedInJinja("a for over something else than messages");
  return *list;
}

absl::Status Renderer::Set() {
  ASSIGN_OR_RETURN(const std::string name, cursor_.ExpectName());
  RETURN_IF_ERROR(cursor_.Expect(Kind::kOperator, "="));
  ASSIGN_OR_RETURN(JinjaValue value, Expression());
  if (active_) variables_[name] = std::move(value);
  return CloseBlock();
}

}  // namespace

absl::StatusOr<std::string> RenderJinja(absl::string_view jinja_template,
                                        absl::Span<const ChatTurn> messages) {
  if (jinja_template.size() > kMaxTemplate) {
    return absl::UnimplementedError("chat template: longer than 1 MiB");
  }
  ASSIGN_OR_RETURN(const std::vector<JinjaToken> tokens, ReadJinjaTokens(jinja_template));
  return Renderer(tokens, messages).Run();
}

}  // namespace peerage
