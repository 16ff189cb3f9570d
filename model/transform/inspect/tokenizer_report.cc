#include "model/transform/inspect/tokenizer_report.h"

#include <nlohmann/json.hpp>
#include <utility>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/string_view.h"
#include "base/error_text.h"

namespace peerage::transform {
namespace {

using nlohmann::ordered_json;

// A token, and every place that names it.
struct NamedToken {
  TokenId id;
  std::vector<std::string> places;
};

// In the order of the first mentions.
std::vector<NamedToken> ByToken(const std::vector<TokenMention>& mentions) {
  std::vector<NamedToken> tokens;
  for (const TokenMention& mention : mentions) {
    size_t i = 0;
    while (i < tokens.size() && tokens[i].id != mention.id) ++i;
    if (i == tokens.size()) tokens.push_back({mention.id, {}});
    tokens[i].places.push_back(mention.place);
  }
  return tokens;
}

int NamedTokens(const Tokenizer& tokenizer) {
  int named = 0;
  for (TokenId id = 0; id < static_cast<TokenId>(tokenizer.vocab_size()); ++id) {
    if (!tokenizer.Bytes(id).empty()) ++named;
  }
  return named;
}

std::string Line(absl::string_view what, absl::string_view text) {
  return absl::StrFormat("  %-17s %s\n", what, text);
}

std::string TokenText(const Tokenizer& tokenizer, const NamedToken& token) {
  return absl::StrCat(token.id, " ", Quoted(tokenizer.Bytes(token.id)), " (",
                      absl::StrJoin(token.places, ", "), ")");
}

std::string AddBosText(const Tokenizer& tokenizer) {
  const std::string& place = tokenizer.origins().add_bos;
  return absl::StrCat(tokenizer.add_bos() ? "before every text" : "not before texts",
                      place.empty() ? ", as nothing says so" : absl::StrCat(" (", place, ")"));
}

ordered_json TokenJson(const Tokenizer& tokenizer, const NamedToken& token) {
  return {{"id", token.id},
          {"text", absl::Utf8SafeCHexEscape(tokenizer.Bytes(token.id))},
          {"sources", token.places}};
}

}  // namespace

std::string TokenizerText(const Tokenizer& tokenizer) {
  const TokenOrigins& origins = tokenizer.origins();
  std::string text = Line("vocabulary", absl::StrCat(NamedTokens(tokenizer), " tokens for ",
                                                     tokenizer.vocab_size(), " ids"));
  absl::string_view what = "BOS";
  for (const NamedToken& token : ByToken(origins.bos)) {
    absl::StrAppend(&text, Line(what, TokenText(tokenizer, token)));
    what = "  not taken";
  }
  if (origins.bos.empty()) absl::StrAppend(&text, Line(what, "none"));
  if (!origins.bos.empty()) absl::StrAppend(&text, Line("  put", AddBosText(tokenizer)));
  what = "EOS";
  for (const NamedToken& token : ByToken(origins.eos)) {
    absl::StrAppend(&text, Line(what, TokenText(tokenizer, token)));
    what = "  and";
  }
  if (origins.eos.empty()) {
    absl::StrAppend(&text, Line(what, "none: only stop texts and limits end a generation"));
  }
  const absl::Status chat = tokenizer.chat_status();
  const std::string refused = absl::StrCat("none: ", chat.message());
  return absl::StrCat(text, Line("chat template", chat.ok() ? tokenizer.chat_template_name()
                                                            : absl::string_view(refused)));
}

ordered_json TokenizerJson(const Tokenizer& tokenizer) {
  const TokenOrigins& origins = tokenizer.origins();
  const std::vector<NamedToken> bos = ByToken(origins.bos);
  ordered_json eos = ordered_json::array();
  for (const NamedToken& token : ByToken(origins.eos)) eos.push_back(TokenJson(tokenizer, token));
  const auto text_or_null = [](absl::string_view text) {
    return text.empty() ? ordered_json() : ordered_json(std::string(text));
  };
  return {{"vocabulary_size", tokenizer.vocab_size()},
          {"named_tokens", NamedTokens(tokenizer)},
          {"bos_token", bos.empty() ? ordered_json() : TokenJson(tokenizer, bos.front())},
          {"add_bos", tokenizer.add_bos()},
          {"add_bos_source", text_or_null(origins.add_bos)},
          {"eos_tokens", std::move(eos)},
          {"chat_template", text_or_null(tokenizer.chat_template_name())},
          {"chat_template_error", text_or_null(tokenizer.chat_status().message())}};
}

}  // namespace peerage::transform
