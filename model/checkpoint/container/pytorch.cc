#include "model/checkpoint/container/pytorch.h"

#include <cstddef>
#include <map>
#include <tuple>
#include <utility>

#include "absl/container/flat_hash_set.h"
#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "base/error_text.h"
#include "base/status_macros.h"
#include "model/checkpoint/container/file_format.h"
#include "model/checkpoint/container/pickle.h"
#include "model/checkpoint/container/pytorch_globals.h"
#include "model/checkpoint/container/pytorch_tensor.h"
#include "model/checkpoint/container/strided_file.h"
#include "model/checkpoint/container/torch_archive.h"

namespace peerage {
namespace {

constexpr size_t kMaxTorchTensors = 65'536;
constexpr size_t kMaxTorchNameBytes = 512;
constexpr size_t kMaxTorchKeys = 2 * kMaxTorchTensors;  // of the dict, whatever their values

// Gives the tensors of a dict their places in the file, or views of it.
class TensorPlacing {
 public:
  TensorPlacing(const RandomAccessFile& file, const PickleContents& pickle,
                const TorchArchive& archive, bool big_endian, PytorchContents& contents)
      : file_(file),
        pickle_(pickle),
        archive_(archive),
        big_endian_(big_endian),
        contents_(contents) {}

  absl::Status PlaceAll(const std::vector<uint32_t>& items) {
    absl::flat_hash_set<std::string> names;
    if (items.size() / 2 > kMaxTorchKeys) {
      return absl::InvalidArgumentError(
          absl::StrCat("its dict has ", items.size() / 2, " keys, more than ", kMaxTorchKeys));
    }
    for (size_t i = 0; i + 1 < items.size(); i += 2) {
      const PickleValue& key = pickle_.values[items[i]];
      const bool named = key.kind == PickleKind::kString;
      if (!named || !IsTensor(pickle_, items[i + 1])) {
        contents_.choice.skipped.push_back(PickledKeyText(key));
        continue;
      }
      if (key.text.size() > kMaxTorchNameBytes)
        return absl::InvalidArgumentError("a name too long");
      const std::string name(key.text);
      const std::string place = absl::StrCat("tensor ", Quoted(name));
      if (!names.insert(name).second)
        return At(place, absl::InvalidArgumentError("is there twice"));
      RETURN_IF_ERROR(At(place, Place(name, items[i + 1])));
    }
    return absl::OkStatus();
  }

 private:
  using View = std::tuple<uint64_t, std::vector<int64_t>, std::vector<int64_t>, int>;

  absl::Status Place(const std::string& name, uint32_t value) {
    if (contents_.tensors.size() == kMaxTorchTensors) {
      return absl::InvalidArgumentError(absl::StrCat("more than ", kMaxTorchTensors, " tensors"));
    }
    ASSIGN_OR_RETURN(PickledTensor tensor, ReadPickledTensor(pickle_, value));
    uint64_t bytes = 0;
    if (__builtin_mul_overflow(static_cast<uint64_t>(tensor.storage_elements),
                               static_cast<uint64_t>(tensor.dtype->bytes), &bytes)) {
      return absl::InvalidArgumentError("its storage's size overflows");
    }
    ASSIGN_OR_RETURN(const uint64_t storage, archive_.FindStorage(tensor.storage, bytes));
    StoredTensor stored{.name = name,
                        .dtype = std::string(tensor.dtype->name),
                        .type = tensor.dtype->type,
                        .shape = tensor.shape,
                        .bytes = tensor.bytes};
    const bool swapped = big_endian_ && tensor.dtype->bytes > 1;
    if (tensor.bytes == 0 || (tensor.IsRowMajor() && !swapped)) {
      if (tensor.bytes != 0) stored.offset = storage + tensor.offset * tensor.dtype->bytes;
    } else {
      stored.file = ViewOf(std::move(tensor), storage, swapped);
    }
    contents_.tensors.push_back(std::move(stored));
    return absl::OkStatus();
  }

  // Tensors of the same elements share their view.
  int ViewOf(PickledTensor tensor, uint64_t storage, bool swapped) {
    const int width = tensor.dtype->bytes;
    const uint64_t offset = storage + tensor.offset * width;
    const int next = static_cast<int>(contents_.views.size()) + 1;
    const auto [view, is_new] =
        views_.emplace(View(offset, tensor.shape, tensor.strides, width), next);
    if (is_new) {
      contents_.views.push_back(
          std::make_unique<StridedFile>(file_, StridedLayout{.shape = std::move(tensor.shape),
                                                             .strides = std::move(tensor.strides),
                                                             .offset = offset,
                                                             .element_bytes = width,
                                                             .swap_bytes = swapped}));
    }
    return view->second;
  }

  const RandomAccessFile& file_;
  const PickleContents& pickle_;
  const TorchArchive& archive_;
  const bool big_endian_;
  PytorchContents& contents_;
  std::map<View, int> views_;
};

absl::StatusOr<PytorchContents> ReadContents(const RandomAccessFile& file, const std::string& key) {
  RETURN_IF_ERROR(CheckPytorchFormat(file));
  ASSIGN_OR_RETURN(const TorchArchive archive, TorchArchive::Open(file));
  ASSIGN_OR_RETURN(std::vector<uint8_t> bytes, archive.Pickle());
  ASSIGN_OR_RETURN(const PickleContents pickle, ReadPickle(std::move(bytes)));
  RETURN_IF_ERROR(CheckGlobals(pickle));
  ASSIGN_OR_RETURN(const bool big_endian, archive.IsBigEndian());
  ASSIGN_OR_RETURN(std::vector<PickledTensorDict> dicts, FindTensorDicts(pickle));
  ASSIGN_OR_RETURN(const size_t chosen, ChooseTensorDict(pickle, dicts, key));
  PytorchContents contents;
  RETURN_IF_ERROR(TensorPlacing(file, pickle, archive, big_endian, contents)
                      .PlaceAll(pickle.values[dicts[chosen].value].items));
  contents.choice.chosen = std::move(dicts[chosen].facts);
  dicts.erase(dicts.begin() + static_cast<ptrdiff_t>(chosen));
  for (PickledTensorDict& dict : dicts) contents.choice.others.push_back(std::move(dict.facts));
  return contents;
}

}  // namespace

absl::Status CheckPytorchFormat(const RandomAccessFile& file) {
  ASSIGN_OR_RETURN(const FileFormat format, FormatOf(file));
  if (format == FileFormat::kZip) return absl::OkStatus();
  if (format == FileFormat::kUnknown) {
    return absl::InvalidArgumentError("is not a zip archive, as torch.save writes it");
  }
  if (format != FileFormat::kPickle) return CheckFormat(file, FileFormat::kZip);
  return absl::InvalidArgumentError(absl::StrCat(
      "is ", Description(format),
      "; this rewrites it: python3 -c 'import sys, torch; torch.save(torch.load(sys.argv[1], "
      "map_location=\"cpu\", weights_only=True), sys.argv[2])' OLD.pt NEW.pt"));
}

absl::StatusOr<PytorchContents> ReadPytorch(const RandomAccessFile& file, const std::string& key) {
  return At(file.path(), ReadContents(file, key));
}

}  // namespace peerage
