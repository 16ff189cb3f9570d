#pragma once

#include <map>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "model/tokenizer/jinja_lexer.h"
#include "model/tokenizer/jinja_value.h"

namespace peerage {

// Evaluates the expressions of a template while it parses them, in the subset of jinja.h.
class JinjaExpressions {
 public:
  using Variables = std::map<std::string, JinjaValue>;

  // Both outlive this object.
  JinjaExpressions(JinjaCursor& cursor, const Variables& variables)
      : cursor_(cursor), variables_(variables) {}

  // The value of the expression at the cursor, which passes it. Where `active` is false (a branch
  // not taken), the expression is only parsed and its value means nothing.
  absl::StatusOr<JinjaValue> Evaluate(bool active);

 private:
  using Value = JinjaValue;
  using Rule = absl::StatusOr<Value> (JinjaExpressions::*)();

  // From loose to tight.
  absl::StatusOr<Value> Or();
  absl::StatusOr<Value> And();
  absl::StatusOr<Value> Not();
  absl::StatusOr<Value> Comparison();
  absl::StatusOr<Value> Sum();
  absl::StatusOr<Value> Postfix();
  absl::StatusOr<Value> Primary();

  // The right of "and" or "or" counts only where the left does not decide.
  absl::StatusOr<Value> Decide(Value left, bool decided_by, Rule right);
  absl::StatusOr<Value> Joined(const Value& left, const Value& right);
  absl::StatusOr<Value::List> Items(absl::string_view close);
  absl::StatusOr<Value> ListLiteral();
  absl::StatusOr<Value> Subscript(const Value& value);  // behind the open bracket
  absl::StatusOr<Value> Test(const Value& value);       // behind "is"
  absl::StatusOr<Value> Variable(const std::string& name) const;

  absl::StatusOr<bool> Truth(const Value& value) const;

  // What an operation gave. Where nothing is evaluated its operands mean nothing, nor do its
  // errors.
  absl::StatusOr<Value> Result(absl::StatusOr<Value> value) const;
  absl::StatusOr<Value> Result(const absl::StatusOr<bool>& value, bool negate) const;

  JinjaCursor& cursor_;
  const Variables& variables_;
  bool active_ = true;
  int nesting_ = 0;
  size_t joined_bytes_ = 0;
};

}  // namespace peerage
