#include "model/transform/upcycle/model_comparison.h"

#include <memory>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "base/error_text.h"
#include "base/status_macros.h"
#include "model/tokenizer/tokenizer.h"
#include "model/transform/dense_model.h"

namespace peerage::transform {
namespace {

// Words, digits, contractions, white space and other scripts: what pre-tokenizers cut differently.
constexpr char kSample[] =
    "It's 2024: don't  STOP at 1,234.5 %!\n\n\tif (x_1 != \"y\") { return; }   Ça coûte 100€ — "
    "\xe6\x97\xa5\xe6\x9c\xac\xe8\xaa\x9e, we'll SEE'LL \r\n ok ";

struct ShapeValue {
  const char* name;
  double base;
  double model;
};

bool IsSameText(const TokenizerSource& a, const TokenizerSource& b) {
  return a.vocab_size == b.vocab_size && a.hugging_face.has_value() && b.hugging_face.has_value() &&
         a.hugging_face->tokenizer_json == b.hugging_face->tokenizer_json;
}

// The ids, or nullopt where the text is none of a tokenizer's (half a character).
std::optional<std::vector<TokenId>> IdsOf(const Tokenizer& tokenizer, absl::string_view text) {
  absl::StatusOr<std::vector<TokenId>> ids = tokenizer.Encode(text, SpecialTokens::kRecognise);
  if (!ids.ok()) return std::nullopt;
  return *std::move(ids);
}

absl::Status CheckSameTokens(const Tokenizer& base, const Tokenizer& model) {
  for (TokenId id = 0; id < static_cast<TokenId>(base.vocab_size()); ++id) {
    const absl::string_view text = base.Bytes(id);
    const std::string quoted = Quoted(text);
    if (model.Bytes(id) != text || model.IsSpecial(id) != base.IsSpecial(id)) {
      return absl::InvalidArgumentError(
          absl::StrCat("token ", id, " of its tokenizer is not the base's ", quoted));
    }
    if (IdsOf(model, text) != IdsOf(base, text)) {
      return absl::InvalidArgumentError(
          absl::StrCat("its tokenizer cuts ", quoted, " otherwise than the base's"));
    }
  }
  if (IdsOf(model, kSample) == IdsOf(base, kSample)) return absl::OkStatus();
  return absl::InvalidArgumentError("its tokenizer cuts words otherwise than the base's");
}

}  // namespace

absl::Status CheckSameShape(const ModelConfig& base, const ModelConfig& model) {
  const ShapeValue values[] = {
      {"vocab_size", double(base.vocab_size), double(model.vocab_size)},
      {"hidden_size", double(base.hidden_size), double(model.hidden_size)},
      {"num_hidden_layers", double(base.layers.size()), double(model.layers.size())},
      {"num_attention_heads", double(base.num_heads), double(model.num_heads)},
      {"num_key_value_heads", double(base.num_kv_heads), double(model.num_kv_heads)},
      {"head_dim", double(base.head_dim), double(model.head_dim)},
      {"intermediate_size", double(DenseWidth(base)), double(DenseWidth(model))},
      {"rope_theta", base.rope_theta, model.rope_theta},
      {"norm_eps", base.norm_eps, model.norm_eps},
  };
  for (const ShapeValue& value : values) {
    if (value.base == value.model) continue;
    return absl::InvalidArgumentError(
        absl::StrCat(value.name, " is ", value.model, ", but the base's ", value.base));
  }
  const struct {
    const char* name;
    bool same;
  } kinds[] = {
      {"hidden_act", base.activation == model.activation},
      {"norm_type", base.norm_type == model.norm_type},
      {"rope_interleaved", base.rope_interleaved == model.rope_interleaved},
      {"tie_word_embeddings", base.tied_embeddings == model.tied_embeddings},
      {"parallel_block", base.parallel_block == model.parallel_block},
  };
  for (const auto& kind : kinds) {
    if (!kind.same)
      return absl::InvalidArgumentError(absl::StrCat(kind.name, " is not the base's"));
  }
  return absl::OkStatus();
}

absl::Status CheckSameTokenizer(const TokenizerSource& base, const TokenizerSource& model) {
  if (IsSameText(base, model)) return absl::OkStatus();
  ASSIGN_OR_RETURN(const std::unique_ptr<Tokenizer> of_base, Tokenizer::Load(base));
  ASSIGN_OR_RETURN(const std::unique_ptr<Tokenizer> of_model, Tokenizer::Load(model));
  return CheckSameTokens(*of_base, *of_model);
}

}  // namespace peerage::transform
