#include "model/tokenizer/jinja_expression.h"

#include <charconv>
#include <memory>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "base/status_macros.h"

namespace peerage {
namespace {

using Kind = JinjaToken::Kind;

constexpr int kMaxExpressionNesting = 64;
constexpr size_t kMaxJoinedBytes = 1 << 24;

absl::StatusOr<JinjaValue> Integer(const std::string& digits) {
  int64_t number = 0;
  const char* end = digits.data() + digits.size();
  if (std::from_chars(digits.data(), end, number).ec != std::errc()) {
    return UnsupportedInJinja("a number too large");
  }
  return JinjaValue{number};
}

}  // namespace

absl::StatusOr<JinjaValue> JinjaExpressions::Evaluate(bool active) {
  active_ = active;
  return Or();
}

absl::StatusOr<JinjaValue> JinjaExpressions::Or() {
  if (++nesting_ > kMaxExpressionNesting) return UnsupportedInJinja("nested too deeply");
  ASSIGN_OR_RETURN(Value value, And());
  while (cursor_.TakeName("or")) {
    ASSIGN_OR_RETURN(value, Decide(std::move(value), /*decided_by=*/true, &JinjaExpressions::And));
  }
  if (cursor_.TakeName("if")) return UnsupportedInJinja("a conditional expression");
  --nesting_;
  return value;
}

absl::StatusOr<JinjaValue> JinjaExpressions::And() {
  ASSIGN_OR_RETURN(Value value, Not());
  while (cursor_.TakeName("and")) {
    ASSIGN_OR_RETURN(value, Decide(std::move(value), /*decided_by=*/false, &JinjaExpressions::Not));
  }
  return value;
}

absl::StatusOr<JinjaValue> JinjaExpressions::Decide(Value left, bool decided_by, Rule right) {
  ASSIGN_OR_RETURN(const bool truth, Truth(left));
  const bool outer = active_;
  const bool decided = truth == decided_by;
  active_ = outer && !decided;
  ASSIGN_OR_RETURN(Value value, (this->*right)());
  active_ = outer;
  return decided ? left : value;
}

absl::StatusOr<JinjaValue> JinjaExpressions::Not() {
  bool negate = false;
  bool any = false;
  for (; cursor_.TakeName("not"); any = true) negate = !negate;
  ASSIGN_OR_RETURN(Value value, Comparison());
  if (!any) return value;
  return Result(value.Truth(), negate);
}

absl::StatusOr<JinjaValue> JinjaExpressions::Comparison() {
  ASSIGN_OR_RETURN(Value left, Sum());
  while (true) {
    const bool not_in = cursor_.Peek().kind == Kind::kName && cursor_.Peek().text == "not" &&
                        cursor_.PeekNext().text == "in";
    if (not_in) cursor_.Advance();
    if (cursor_.TakeName("in")) {
      ASSIGN_OR_RETURN(const Value right, Sum());
      ASSIGN_OR_RETURN(left, Result(right.Contains(left), /*negate=*/not_in));
    } else if (cursor_.TakeOperator("==")) {
      ASSIGN_OR_RETURN(const Value right, Sum());
      ASSIGN_OR_RETURN(left, Result(left.Equals(right), /*negate=*/false));
    } else if (cursor_.TakeOperator("!=")) {
      ASSIGN_OR_RETURN(const Value right, Sum());
      ASSIGN_OR_RETURN(left, Result(left.Equals(right), /*negate=*/true));
    } else {
      return left;
    }
  }
}

absl::StatusOr<JinjaValue> JinjaExpressions::Sum() {
  ASSIGN_OR_RETURN(Value left, Postfix());
  while (true) {
    if (cursor_.TakeOperator("+") || cursor_.TakeOperator("~")) {
      ASSIGN_OR_RETURN(const Value right, Postfix());
      ASSIGN_OR_RETURN(left, Result(Joined(left, right)));
    } else if (cursor_.TakeOperator("-")) {
      ASSIGN_OR_RETURN(const Value right, Postfix());
      ASSIGN_OR_RETURN(left, Result(left.Minus(right)));
    } else {
      return left;
    }
  }
}

// A text that is joined with itself again and again would outgrow any memory.
absl::StatusOr<JinjaValue> JinjaExpressions::Joined(const Value& left, const Value& right) {
  for (const Value* side : {&left, &right}) {
    ASSIGN_OR_RETURN(const Value::Opaque text, side->Text());
    joined_bytes_ += text.text.size();
  }
  if (joined_bytes_ > kMaxJoinedBytes) return UnsupportedInJinja("too much text");
  return left.JoinedWith(right);
}

absl::StatusOr<JinjaValue> JinjaExpressions::Postfix() {
  ASSIGN_OR_RETURN(Value value, Primary());
  while (true) {
    if (cursor_.TakeOperator(".")) {
      ASSIGN_OR_RETURN(const std::string name, cursor_.ExpectName());
      ASSIGN_OR_RETURN(value, Result(value.Item({name})));
    } else if (cursor_.TakeOperator("[")) {
      ASSIGN_OR_RETURN(value, Subscript(value));
    } else if (cursor_.TakeOperator("(")) {
      RETURN_IF_ERROR(Items(")").status());
      if (active_) return UnsupportedInJinja("a call");
    } else if (cursor_.TakeOperator("|")) {
      ASSIGN_OR_RETURN(const std::string name, cursor_.ExpectName());
      if (active_) return UnsupportedInJinja(absl::StrCat("filter ", name));
    } else if (cursor_.TakeName("is")) {
      ASSIGN_OR_RETURN(value, Test(value));
    } else {
      return value;
    }
  }
}

absl::StatusOr<JinjaValue> JinjaExpressions::Primary() {
  if (cursor_.TakeOperator("(")) {
    ASSIGN_OR_RETURN(Value value, Or());
    RETURN_IF_ERROR(cursor_.Expect(Kind::kOperator, ")"));
    return value;
  }
  if (cursor_.TakeOperator("[")) return ListLiteral();
  const JinjaToken& token = cursor_.Peek();
  if (token.kind != Kind::kString && token.kind != Kind::kInteger && token.kind != Kind::kName) {
    return UnsupportedInJinja(absl::StrCat("\"", token.text, "\" in an expression"));
  }
  cursor_.Advance();
  if (token.kind == Kind::kString) return Value{token.text};
  return token.kind == Kind::kInteger ? Integer(token.text) : Variable(token.text);
}

// Lists of lists are not needed, and would nest as deep as a template likes.
absl::StatusOr<JinjaValue> JinjaExpressions::ListLiteral() {
  ASSIGN_OR_RETURN(Value::List items, Items("]"));
  if (!active_) return Value();
  for (const Value& item : items) {
    if (item.AsList() != nullptr) return UnsupportedInJinja("a list of lists");
  }
  return Value{std::make_shared<const Value::List>(std::move(items))};
}

absl::StatusOr<JinjaValue::List> JinjaExpressions::Items(absl::string_view close) {
  Value::List items;
  if (cursor_.TakeOperator(close)) return items;
  do {
    const bool named = cursor_.Peek().kind == Kind::kName && cursor_.PeekNext().text == "=";
    if (named) {
      cursor_.Advance();
      cursor_.Advance();
    }
    ASSIGN_OR_RETURN(Value item, Or());
    items.push_back(std::move(item));
  } while (cursor_.TakeOperator(","));
  RETURN_IF_ERROR(cursor_.Expect(Kind::kOperator, close));
  return items;
}

absl::StatusOr<JinjaValue> JinjaExpressions::Variable(const std::string& name) const {
  if (name == "true" || name == "True") return Value{true};
  if (name == "false" || name == "False") return Value{false};
  if (name == "none" || name == "None") return Value{Value::None()};
  if (!active_) return Value();
  const auto found = variables_.find(name);
  if (found != variables_.end()) return found->second;
  if (absl::EndsWith(name, "_token")) return UnsupportedInJinja(name);
  return Value();
}

absl::StatusOr<JinjaValue> JinjaExpressions::Subscript(const Value& value) {
  ASSIGN_OR_RETURN(const Value index, Or());
  const bool slice = cursor_.TakeOperator(":");
  RETURN_IF_ERROR(cursor_.Expect(Kind::kOperator, "]"));
  return Result(slice ? value.From(index) : value.Item(index));
}

absl::StatusOr<JinjaValue> JinjaExpressions::Test(const Value& value) {
  const bool negate = cursor_.TakeName("not");
  ASSIGN_OR_RETURN(const std::string name, cursor_.ExpectName());
  return Result(value.Passes(name), negate);
}

absl::StatusOr<bool> JinjaExpressions::Truth(const Value& value) const {
  return active_ ? value.Truth() : false;
}

absl::StatusOr<JinjaValue> JinjaExpressions::Result(absl::StatusOr<Value> value) const {
  if (!active_) return Value();
  return value;
}

absl::StatusOr<JinjaValue> JinjaExpressions::Result(const absl::StatusOr<bool>& value,
                                                    bool negate) const {
  if (!active_) return Value();
  if (!value.ok()) return value.status();
  return Value{*value != negate};
}

}  // namespace peerage
