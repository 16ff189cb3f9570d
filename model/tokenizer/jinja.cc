#include "model/tokenizer/jinja.h"

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <map>
#include <memory>
#include <utility>
#include <variant>
#include <vector>

#include "model/status_macros.h"
#include "model/tokenizer/jinja_lexer.h"
#include "model/tokenizer/text.h"

namespace peerage {
namespace {

using Kind = JinjaToken::Kind;

constexpr size_t kMaxTemplate = 1 << 20;
constexpr int kMaxNesting = 64;
constexpr int kMaxSteps = 1'000'000;

struct Value;
using List = std::vector<Value>;
using Object = std::map<std::string, Value, std::less<>>;

struct Undefined {
  bool operator==(const Undefined&) const { return true; }
};
struct None {
  bool operator==(const None&) const { return true; }
};
// Text of a message: printed and joined, never looked into.
struct Opaque {
  std::string text;
};

struct Value {
  std::variant<Undefined, None, bool, int64_t, std::string, Opaque, std::shared_ptr<const List>,
               std::shared_ptr<const Object>>
      is;

  template <typename T>
  const T* As() const {
    return std::get_if<T>(&is);
  }
};

// Evaluates while it parses. Where `active_` is false (a branch not taken, the right of a decided
// "and"), it only parses and every value is undefined.
class Renderer {
 public:
  Renderer(const std::vector<JinjaToken>& tokens, absl::Span<const ChatTurn> messages)
      : tokens_(tokens) {
    List list;
    for (const ChatTurn& turn : messages) {
      list.push_back({std::make_shared<const Object>(
          Object{{"role", {turn.role}}, {"content", {Opaque{turn.content}}}})});
    }
    variables_["messages"] = {std::make_shared<const List>(std::move(list))};
    variables_["add_generation_prompt"] = {true};
    variables_["tools"] = {None()};
    variables_["documents"] = {None()};
  }

  absl::StatusOr<std::string> Run() {
    RETURN_IF_ERROR(Body());
    if (Peek().kind != Kind::kEnd) return Unsupported(Concat("tag ", tokens_[at_ + 1].text));
    return std::move(out_);
  }

 private:
  const JinjaToken& Peek() const { return tokens_[at_]; }
  bool PeekIs(Kind kind, std::string_view text) const {
    return Peek().kind == kind && Peek().text == text;
  }
  bool Take(Kind kind, std::string_view text) {
    if (!PeekIs(kind, text)) return false;
    ++at_;
    return true;
  }
  bool TakeOperator(std::string_view text) { return Take(Kind::kOperator, text); }
  bool TakeName(std::string_view text) { return Take(Kind::kName, text); }

  // A block tag that begins with this name; the name is passed.
  bool TakeTag(std::string_view name) {
    if (Peek().kind != Kind::kOpenBlock || tokens_[at_ + 1].kind != Kind::kName ||
        tokens_[at_ + 1].text != name) {
      return false;
    }
    at_ += 2;
    return true;
  }

  absl::Status Expect(Kind kind, std::string_view text) {
    if (Take(kind, text)) return absl::OkStatus();
    return Unsupported(Concat("\"", Peek().text, "\" where \"", text, "\" is expected"));
  }
  absl::Status CloseBlock() { return Expect(Kind::kCloseBlock, ""); }

  absl::StatusOr<std::string> ExpectName() {
    if (Peek().kind != Kind::kName) return Unsupported("no name where one is expected");
    return tokens_[at_++].text;
  }

  static absl::Status Unsupported(std::string_view what) {
    return absl::UnimplementedError(Concat("chat template: ", what));
  }

  // Text, prints and blocks up to a tag that is none of them.
  absl::Status Body() {
    while (true) {
      if (++steps_ > kMaxSteps) return Unsupported("too long a run");
      if (Peek().kind == Kind::kText) {
        if (active_) out_ += Peek().text;
        ++at_;
      } else if (Peek().kind == Kind::kOpenPrint) {
        RETURN_IF_ERROR(Print());
      } else if (TakeTag("if")) {
        RETURN_IF_ERROR(Nested(&Renderer::If));
      } else if (TakeTag("for")) {
        RETURN_IF_ERROR(Nested(&Renderer::For));
      } else if (TakeTag("set")) {
        RETURN_IF_ERROR(Set());
      } else {
        return absl::OkStatus();
      }
    }
  }

  absl::Status Nested(absl::Status (Renderer::*part)()) {
    if (++nesting_ > kMaxNesting) return Unsupported("nested too deeply");
    RETURN_IF_ERROR((this->*part)());
    --nesting_;
    return absl::OkStatus();
  }

  absl::Status Print() {
    ++at_;
    ASSIGN_OR_RETURN(const Value value, Expression());
    RETURN_IF_ERROR(Expect(Kind::kClosePrint, ""));
    if (!active_) return absl::OkStatus();
    ASSIGN_OR_RETURN(const Opaque text, Text(value));
    out_ += text.text;
    return absl::OkStatus();
  }

  absl::Status If() {
    const bool outer = active_;
    bool decided = false;
    do {
      active_ = outer && !decided;
      ASSIGN_OR_RETURN(const Value condition, Expression());
      RETURN_IF_ERROR(CloseBlock());
      ASSIGN_OR_RETURN(const bool holds, Truth(condition));
      active_ = active_ && holds;
      decided = decided || active_;
      RETURN_IF_ERROR(Body());
    } while (TakeTag("elif"));
    if (TakeTag("else")) {
      RETURN_IF_ERROR(CloseBlock());
      active_ = outer && !decided;
      RETURN_IF_ERROR(Body());
    }
    active_ = outer;
    if (!TakeTag("endif")) return Unsupported("an if that does not end");
    return CloseBlock();
  }

  absl::Status For() {
    ASSIGN_OR_RETURN(const std::string name, ExpectName());
    RETURN_IF_ERROR(Expect(Kind::kName, "in"));
    ASSIGN_OR_RETURN(const Value iterated, Expression());
    RETURN_IF_ERROR(CloseBlock());
    List items;
    if (active_) {
      const auto* list = iterated.As<std::shared_ptr<const List>>();
      if (list == nullptr) return Unsupported("a for over something else than messages");
      items = **list;
    }
    const size_t body = at_;
    const bool outer = active_;
    const int64_t count = static_cast<int64_t>(items.size());
    if (items.empty()) {
      active_ = false;
      RETURN_IF_ERROR(Body());
    }
    for (int64_t i = 0; i < count; ++i) {
      at_ = body;
      const auto outside = variables_;
      variables_[name] = items[i];
      variables_["loop"] = {std::make_shared<const Object>(Object{{"index", {i + 1}},
                                                                  {"index0", {i}},
                                                                  {"first", {i == 0}},
                                                                  {"last", {i + 1 == count}},
                                                                  {"length", {count}}})};
      RETURN_IF_ERROR(Body());
      variables_ = outside;
    }
    active_ = outer;
    if (!TakeTag("endfor")) return Unsupported("a for that does not end");
    return CloseBlock();
  }

  absl::Status Set() {
    ASSIGN_OR_RETURN(const std::string name, ExpectName());
    RETURN_IF_ERROR(Expect(Kind::kOperator, "="));
    ASSIGN_OR_RETURN(Value value, Expression());
    if (active_) variables_[name] = std::move(value);
    return CloseBlock();
  }

  // Or: And ("or" And)*
  absl::StatusOr<Value> Expression() {
    if (++nesting_ > kMaxNesting) return Unsupported("nested too deeply");
    ASSIGN_OR_RETURN(Value value, And());
    while (TakeName("or")) {
      ASSIGN_OR_RETURN(value, Decide(std::move(value), /*decided_by=*/true, &Renderer::And));
    }
    if (PeekIs(Kind::kName, "if")) return Unsupported("a conditional expression");
    --nesting_;
    return value;
  }

  absl::StatusOr<Value> And() {
    ASSIGN_OR_RETURN(Value value, Not());
    while (TakeName("and")) {
      ASSIGN_OR_RETURN(value, Decide(std::move(value), /*decided_by=*/false, &Renderer::Not));
    }
    return value;
  }

  // The right of "and" or "or" counts only where the left does not decide.
  absl::StatusOr<Value> Decide(Value left, bool decided_by,
                               absl::StatusOr<Value> (Renderer::*right)()) {
    ASSIGN_OR_RETURN(const bool truth, Truth(left));
    const bool outer = active_;
    const bool decided = truth == decided_by;
    active_ = outer && !decided;
    ASSIGN_OR_RETURN(Value value, (this->*right)());
    active_ = outer;
    return decided ? left : value;
  }

  absl::StatusOr<Value> Not() {
    bool negate = false;
    bool any = false;
    for (; TakeName("not"); any = true) negate = !negate;
    ASSIGN_OR_RETURN(Value value, Comparison());
    if (!any || !active_) return value;
    ASSIGN_OR_RETURN(const bool truth, Truth(value));
    return Value{truth != negate};
  }

  absl::StatusOr<Value> Comparison() {
    ASSIGN_OR_RETURN(Value left, Sum());
    while (true) {
      if (TakeOperator("==")) {
        ASSIGN_OR_RETURN(const Value right, Sum());
        ASSIGN_OR_RETURN(const bool equal, Equal(left, right));
        left = {equal};
      } else if (TakeOperator("!=")) {
        ASSIGN_OR_RETURN(const Value right, Sum());
        ASSIGN_OR_RETURN(const bool equal, Equal(left, right));
        left = {!equal};
      } else if (TakeName("in")) {
        ASSIGN_OR_RETURN(const Value right, Sum());
        ASSIGN_OR_RETURN(const bool contained, Contained(left, right));
        left = {contained};
      } else if (PeekIs(Kind::kName, "not") && tokens_[at_ + 1].text == "in") {
        at_ += 2;
        ASSIGN_OR_RETURN(const Value right, Sum());
        ASSIGN_OR_RETURN(const bool contained, Contained(left, right));
        left = {!contained};
      } else {
        return left;
      }
    }
  }

  absl::StatusOr<Value> Sum() {
    ASSIGN_OR_RETURN(Value left, Postfix());
    while (true) {
      if (TakeOperator("+") || TakeOperator("~")) {
        ASSIGN_OR_RETURN(const Value right, Postfix());
        ASSIGN_OR_RETURN(left, Joined(left, right));
      } else if (TakeOperator("-")) {
        ASSIGN_OR_RETURN(const Value right, Postfix());
        ASSIGN_OR_RETURN(left, Difference(left, right));
      } else {
        return left;
      }
    }
  }

  absl::StatusOr<Value> Postfix() {
    ASSIGN_OR_RETURN(Value value, Primary());
    while (true) {
      if (TakeOperator(".")) {
        ASSIGN_OR_RETURN(const std::string name, ExpectName());
        ASSIGN_OR_RETURN(value, Item(value, Value{name}));
      } else if (TakeOperator("[")) {
        ASSIGN_OR_RETURN(value, Subscript(value));
      } else if (TakeOperator("(")) {
        RETURN_IF_ERROR(Arguments(")").status());
        if (active_) return Unsupported("a call");
      } else if (TakeOperator("|")) {
        ASSIGN_OR_RETURN(const std::string name, ExpectName());
        if (active_) return Unsupported(Concat("filter ", name));
      } else if (TakeName("is")) {
        ASSIGN_OR_RETURN(value, Test(value));
      } else {
        return value;
      }
    }
  }

  absl::StatusOr<Value> Primary() {
    const JinjaToken token = tokens_[at_++];
    if (token.kind == Kind::kString) return Value{token.text};
    if (token.kind == Kind::kInteger) {
      int64_t number = 0;
      const char* end = token.text.data() + token.text.size();
      if (std::from_chars(token.text.data(), end, number).ec != std::errc()) {
        return Unsupported("a number too large");
      }
      return Value{number};
    }
    if (token.kind == Kind::kName) return Variable(token.text);
    if (token.kind == Kind::kOperator && token.text == "(") {
      ASSIGN_OR_RETURN(Value value, Expression());
      RETURN_IF_ERROR(Expect(Kind::kOperator, ")"));
      return value;
    }
    if (token.kind == Kind::kOperator && token.text == "[") {
      ASSIGN_OR_RETURN(List items, Arguments("]"));
      return Value{std::make_shared<const List>(std::move(items))};
    }
    --at_;
    return Unsupported(Concat("\"", token.text, "\" in an expression"));
  }

  absl::StatusOr<List> Arguments(std::string_view close) {
    List items;
    if (TakeOperator(close)) return items;
    do {
      const bool named = Peek().kind == Kind::kName && tokens_[at_ + 1].text == "=";
      if (named) at_ += 2;
      ASSIGN_OR_RETURN(Value item, Expression());
      items.push_back(std::move(item));
    } while (TakeOperator(","));
    RETURN_IF_ERROR(Expect(Kind::kOperator, close));
    return items;
  }

  absl::StatusOr<Value> Variable(const std::string& name) {
    if (name == "true" || name == "True") return Value{true};
    if (name == "false" || name == "False") return Value{false};
    if (name == "none" || name == "None") return Value{None()};
    const auto found = variables_.find(name);
    if (found != variables_.end()) return active_ ? found->second : Value();
    if (active_ && name.ends_with("_token")) return Unsupported(name);
    return Value();
  }

  // [index], or [start:]; the bracket is passed.
  absl::StatusOr<Value> Subscript(const Value& value) {
    ASSIGN_OR_RETURN(const Value index, Expression());
    const bool slice = TakeOperator(":");
    RETURN_IF_ERROR(Expect(Kind::kOperator, "]"));
    if (!slice || !active_) return Item(value, index);
    const auto* list = value.As<std::shared_ptr<const List>>();
    const auto* start = index.As<int64_t>();
    if (list == nullptr || start == nullptr) return Unsupported("a slice");
    const List& items = **list;
    return Value{std::make_shared<const List>(
        items.begin() + std::min<int64_t>(*start, static_cast<int64_t>(items.size())),
        items.end())};
  }

  absl::StatusOr<Value> Item(const Value& value, const Value& key) const {
    if (!active_) return Value();
    const auto* object = value.As<std::shared_ptr<const Object>>();
    const auto* name = key.As<std::string>();
    if (object != nullptr && name != nullptr) {
      const auto found = (*object)->find(*name);
      return found == (*object)->end() ? Value() : found->second;
    }
    const auto* list = value.As<std::shared_ptr<const List>>();
    const auto* index = key.As<int64_t>();
    if (list != nullptr && index != nullptr) {
      const bool inside = *index >= 0 && *index < static_cast<int64_t>((*list)->size());
      return inside ? (**list)[*index] : Value();
    }
    return Unsupported("an item of something else than a message or a list");
  }

  absl::StatusOr<Value> Test(const Value& value) {
    const bool negate = TakeName("not");
    ASSIGN_OR_RETURN(const std::string name, ExpectName());
    if (!active_) return Value();
    const bool* truth = value.As<bool>();
    bool holds = false;
    if (name == "defined") {
      holds = value.As<Undefined>() == nullptr;
    } else if (name == "none") {
      holds = value.As<None>() != nullptr;
    } else if (name == "string") {
      holds = value.As<std::string>() != nullptr || value.As<Opaque>() != nullptr;
    } else if (name == "true" || name == "false") {
      holds = truth != nullptr && *truth == (name == "true");
    } else {
      return Unsupported(Concat("test ", name));
    }
    return Value{holds != negate};
  }

  absl::StatusOr<bool> Truth(const Value& value) const {
    if (!active_ || value.As<Undefined>() != nullptr || value.As<None>() != nullptr) return false;
    if (const auto* truth = value.As<bool>()) return *truth;
    if (const auto* number = value.As<int64_t>()) return *number != 0;
    if (const auto* text = value.As<std::string>()) return !text->empty();
    if (const auto* list = value.As<std::shared_ptr<const List>>()) return !(*list)->empty();
    if (value.As<Opaque>() != nullptr) return Unsupported("a look into a message's content");
    return true;
  }

  absl::StatusOr<bool> Equal(const Value& left, const Value& right) const {
    if (!active_) return false;
    for (const Value* side : {&left, &right}) {
      if (side->is.index() >= Value{Opaque()}.is.index()) return Unsupported("a comparison");
    }
    if (const auto* a = left.As<std::string>()) {
      const auto* b = right.As<std::string>();
      return b != nullptr && *a == *b;
    }
    if (const auto* a = left.As<int64_t>()) {
      const auto* b = right.As<int64_t>();
      return b != nullptr && *a == *b;
    }
    if (const auto* a = left.As<bool>()) {
      const auto* b = right.As<bool>();
      return b != nullptr && *a == *b;
    }
    return left.is.index() == right.is.index();
  }

  absl::StatusOr<bool> Contained(const Value& item, const Value& container) const {
    if (!active_) return false;
    const auto* list = container.As<std::shared_ptr<const List>>();
    if (list == nullptr) return Unsupported("an \"in\" on something else than a list");
    for (const Value& candidate : **list) {
      ASSIGN_OR_RETURN(const bool equal, Equal(item, candidate));
      if (equal) return true;
    }
    return false;
  }

  absl::StatusOr<Opaque> Text(const Value& value) const {
    if (const auto* text = value.As<std::string>()) return Opaque{*text};
    if (const auto* content = value.As<Opaque>()) return *content;
    return Unsupported("something else than text is printed or joined");
  }

  absl::StatusOr<Value> Joined(const Value& left, const Value& right) const {
    if (!active_) return Value();
    ASSIGN_OR_RETURN(Opaque text, Text(left));
    ASSIGN_OR_RETURN(const Opaque more, Text(right));
    text.text += more.text;
    const bool opaque = left.As<Opaque>() != nullptr || right.As<Opaque>() != nullptr;
    return opaque ? Value{std::move(text)} : Value{std::move(text.text)};
  }

  absl::StatusOr<Value> Difference(const Value& left, const Value& right) const {
    if (!active_) return Value();
    const auto* a = left.As<int64_t>();
    const auto* b = right.As<int64_t>();
    if (a == nullptr || b == nullptr) return Unsupported("a difference of other than numbers");
    return Value{*a - *b};
  }

  const std::vector<JinjaToken>& tokens_;
  size_t at_ = 0;
  bool active_ = true;
  int nesting_ = 0;
  int steps_ = 0;
  std::map<std::string, Value> variables_;
  std::string out_;
};

}  // namespace

absl::StatusOr<std::string> RenderJinja(std::string_view jinja_template,
                                        absl::Span<const ChatTurn> messages) {
  if (jinja_template.size() > kMaxTemplate) {
    return absl::UnimplementedError("chat template: longer than 1 MiB");
  }
  ASSIGN_OR_RETURN(const std::vector<JinjaToken> tokens, ReadJinjaTokens(jinja_template));
  return Renderer(tokens, messages).Run();
}

}  // namespace peerage
