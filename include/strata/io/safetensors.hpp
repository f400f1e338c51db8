// Reads and writes named tensors in the safetensors format: 8 bytes of header length, a JSON header, the data.
// Shapes: any rank, row-major; a tensor's elements are converted to the type the caller asks for.
// Source: https://huggingface.co/docs/safetensors ("Format"); a file that breaks its rules is refused.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <functional>
#include <limits>
#include <map>
#include <nlohmann/json.hpp>
#include <numeric>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include <strata/core/buffer.hpp>
#include <strata/core/error.hpp>
#include <strata/core/view.hpp>
#include <strata/io/file.hpp>
#include <strata/io/json.hpp>

namespace strata::inline STRATA_ABI {

static_assert(std::endian::native == std::endian::little,
              "safetensors files are little-endian, and so must be the host");

/// How a file stores an element. The names are those of the format.
enum class dtype { F64, F32, F16, BF16, I64, I32, I16, I8, U64, U32, U16, U8, BOOL };

namespace detail {

struct dtype_row {
  dtype type;
  std::string_view name;
  std::size_t bytes;
};
inline constexpr dtype_row dtype_rows[] = {{dtype::F64, "F64", 8},   {dtype::F32, "F32", 4}, {dtype::F16, "F16", 2},
                                           {dtype::BF16, "BF16", 2}, {dtype::I64, "I64", 8}, {dtype::I32, "I32", 4},
                                           {dtype::I16, "I16", 2},   {dtype::I8, "I8", 1},   {dtype::U64, "U64", 8},
                                           {dtype::U32, "U32", 4},   {dtype::U16, "U16", 2}, {dtype::U8, "U8", 1},
                                           {dtype::BOOL, "BOOL", 1}};

}  // namespace detail

constexpr std::string_view name_of(dtype type) { return detail::dtype_rows[static_cast<int>(type)].name; }
constexpr std::size_t size_of(dtype type) { return detail::dtype_rows[static_cast<int>(type)].bytes; }

/// The dtype that stores a `T` as it is.
template <class T>
constexpr dtype dtype_of() {
  if constexpr (std::same_as<T, double>)
    return dtype::F64;
  else if constexpr (std::same_as<T, float>)
    return dtype::F32;
  else if constexpr (std::same_as<T, bool>)
    return dtype::BOOL;
  else {
    static_assert(std::integral<T>, "a safetensors element is float, double, bool or an integer");
    constexpr dtype with_sign[] = {dtype::I8, dtype::I16, dtype::I32, dtype::I64};
    constexpr dtype without_sign[] = {dtype::U8, dtype::U16, dtype::U32, dtype::U64};
    return (std::is_signed_v<T> ? with_sign : without_sign)[std::countr_zero(sizeof(T))];
  }
}

/// One tensor of a file. `begin` and `end` count bytes from the start of the data section.
struct safetensors_entry {
  std::string name;
  strata::dtype dtype = strata::dtype::F32;
  std::vector<index_type> shape;
  std::uint64_t begin = 0;
  std::uint64_t end = 0;

  /// Elements, not bytes.
  index_type size() const { return static_cast<index_type>((end - begin) / size_of(dtype)); }
};

namespace detail {

/// The limit of the official implementation; real headers are far smaller.
inline constexpr std::uint64_t safetensors_header_limit = 100'000'000;

/// "[2, 3]".
template <class Number>
std::string bracketed(std::span<const Number> numbers) {
  std::string text = "[";
  for (const Number number : numbers) text.append(text.size() > 1 ? ", " : "").append(std::to_string(number));
  return text + "]";
}

/// Bytes of a tensor, or nothing where the number does not fit in 63 bits.
inline bool tensor_bytes(dtype type, std::span<const index_type> shape, std::uint64_t& bytes) {
  bytes = size_of(type);
  constexpr auto most = static_cast<std::uint64_t>(std::numeric_limits<index_type>::max());
  for (const index_type extent : shape) {
    const auto factor = static_cast<std::uint64_t>(extent);
    if (extent < 0 || (factor != 0 && bytes > most / factor)) return false;
    bytes *= factor;
  }
  return true;
}

inline float float_from_bf16(std::uint16_t bits) { return std::bit_cast<float>(std::uint32_t{bits} << 16); }

/// Exact for all 65536 patterns, the NaN payloads included.
inline float float_from_f16(std::uint16_t bits) {
  const std::uint32_t sign = (bits & 0x8000u) << 16, exponent = (bits >> 10) & 31u, mantissa = bits & 1023u;
  if (exponent == 0) {
    const float magnitude = static_cast<float>(mantissa) * 0x1p-24f;
    return sign != 0 ? -magnitude : magnitude;
  }
  const std::uint32_t wide = exponent == 31 ? 255 : exponent + 112;
  return std::bit_cast<float>(sign | (wide << 23) | (mantissa << 13));
}

/// Calls `action(value)` for every stored element in order, with the value in the widest type of its kind
/// that is exact: float or double for a floating dtype, an integer otherwise.
template <class Action>
void for_each_element(dtype type, std::span<const std::byte> bytes, Action&& action) {
  const auto loop = [&]<class Stored>(Stored, auto widen) {
    for (std::size_t position = 0; position < bytes.size(); position += sizeof(Stored)) {
      Stored stored;  // copied, because the format does not promise alignment
      std::memcpy(&stored, bytes.data() + position, sizeof(Stored));
      action(widen(stored));
    }
  };
  const auto same = [](auto stored) { return stored; };
  switch (type) {
    case dtype::F64:
      return loop(double{}, same);
    case dtype::F32:
      return loop(float{}, same);
    case dtype::F16:
      return loop(std::uint16_t{}, float_from_f16);
    case dtype::BF16:
      return loop(std::uint16_t{}, float_from_bf16);
    case dtype::I64:
      return loop(std::int64_t{}, same);
    case dtype::I32:
      return loop(std::int32_t{}, same);
    case dtype::I16:
      return loop(std::int16_t{}, same);
    case dtype::I8:
      return loop(std::int8_t{}, same);
    case dtype::U64:
      return loop(std::uint64_t{}, same);
    case dtype::U32:
      return loop(std::uint32_t{}, same);
    case dtype::U16:
      return loop(std::uint16_t{}, same);
    case dtype::U8:
    case dtype::BOOL:
      return loop(std::uint8_t{}, same);
  }
}

constexpr bool is_floating(dtype type) {
  return type == dtype::F64 || type == dtype::F32 || type == dtype::F16 || type == dtype::BF16;
}

/// Whether `T` holds the value: an integer exactly, a floating value rounded but not made infinite.
template <class T, class Value>
bool fits(Value value) {
  if constexpr (std::floating_point<T>)
    return sizeof(T) >= sizeof(Value) || !std::isfinite(value) || std::isfinite(static_cast<T>(value));
  else if constexpr (std::same_as<T, bool>)
    return value == 0 || value == 1;
  else
    return std::in_range<T>(value);
}

/// Builds the entries from the events of the JSON parser. Events rather than a tree, because a tree hides a
/// name that appears twice, and because anything nested too deep is refused before it takes memory.
class safetensors_header {
 public:
  using json = nlohmann::json;
  explicit safetensors_header(std::string source) : source_(std::move(source)) {}

  std::map<std::string, std::string> metadata;
  std::vector<safetensors_entry> entries;
  std::map<std::string, std::size_t, std::less<>> positions;

  bool start_object(std::size_t) {
    if (place_ == place::outside) return enter(place::root);
    if (place_ != place::root) unexpected("an object");
    if (name_ == "__metadata__") return enter(place::metadata);
    entry_ = {};
    field_.clear();
    has_dtype_ = has_shape_ = has_offsets_ = false;
    return enter(place::tensor);
  }
  bool end_object() {
    if (place_ == place::root) return enter(place::outside);
    if (place_ == place::tensor) finish_tensor();
    return enter(place::root);
  }
  bool key(json::string_t& key) {
    if (place_ == place::root) return root_key(key);
    if (place_ == place::metadata) {
      field_ = key;
      if (metadata.contains(key)) refuse("the key appears twice");
      return true;
    }
    field_ = key;
    bool* const seen = key == "dtype"          ? &has_dtype_
                       : key == "shape"        ? &has_shape_
                       : key == "data_offsets" ? &has_offsets_
                                               : nullptr;
    if (seen == nullptr) refuse("unknown key, known are dtype, shape and data_offsets");
    if (std::exchange(*seen, true)) refuse("the key appears twice");
    return true;
  }
  bool string(json::string_t& value) {
    if (place_ == place::metadata) {
      metadata[field_] = value;
      return true;
    }
    if (place_ != place::tensor || field_ != "dtype") unexpected("a string");
    for (const dtype_row& row : dtype_rows) {
      if (row.name != value) continue;
      entry_.dtype = row.type;
      return true;
    }
    refuse(printable(value), " is not a dtype this reader knows");
  }
  bool start_array(std::size_t) {
    if (place_ != place::tensor || field_ == "dtype") unexpected("an array");
    numbers_.clear();
    return enter(place::numbers);
  }
  bool number_unsigned(json::number_unsigned_t value) {
    if (place_ != place::numbers) unexpected(to_text("the number ", value));
    if (value > static_cast<std::uint64_t>(std::numeric_limits<index_type>::max())) refuse(value, " is too large");
    if (numbers_.size() == 64) refuse("more than 64 numbers");
    numbers_.push_back(static_cast<index_type>(value));
    return true;
  }
  bool end_array() {
    if (field_ == "shape") {
      entry_.shape = numbers_;
    } else {
      if (numbers_.size() != 2) refuse(numbers_.size(), " numbers where begin and end were expected");
      entry_.begin = static_cast<std::uint64_t>(numbers_[0]);
      entry_.end = static_cast<std::uint64_t>(numbers_[1]);
    }
    return enter(place::tensor);
  }
  bool number_integer(json::number_integer_t value) { unexpected(to_text("the number ", value)); }
  bool number_float(json::number_float_t, const json::string_t& digits) {
    unexpected(to_text("the number ", std::string_view(digits).substr(0, 40)));
  }
  bool null() { unexpected("null"); }
  bool boolean(bool) { unexpected("a truth value"); }
  bool binary(json::binary_t&) { unexpected("binary data"); }
  bool parse_error(std::size_t position, const std::string&, const json::exception& problem) {
    // The parser counts from 1, and the header starts after the 8 bytes of its length.
    fail(source_, ": the header is not valid JSON at byte ", 8 + position - std::min<std::size_t>(position, 1),
         " of the file: ", printable(problem.what(), 240));
  }

  /// Offsets lie inside the data section and cover it once: nothing shared, nothing left out.
  void check_cover(std::uint64_t data_bytes) const {
    std::vector<const safetensors_entry*> order;
    for (const safetensors_entry& entry : entries) order.push_back(&entry);
    std::ranges::sort(order, {}, [](const auto* entry) { return std::pair(entry->begin, entry->end); });
    const safetensors_entry* previous = nullptr;
    std::uint64_t covered = 0;
    for (const safetensors_entry* entry : order) {
      const std::string where =
          to_text(source_, ": tensor ", printable(entry->name), ": data_offsets ", offsets(*entry));
      require(entry->end <= data_bytes, where, " reach past the ", data_bytes, " bytes of data in the file");
      require(entry->begin >= covered, where, " overlap those of tensor ",
              printable(previous == nullptr ? "" : previous->name));
      require(entry->begin == covered, where, " leave a hole: bytes ", covered, " to ", entry->begin,
              " of the data belong to no tensor");
      covered = entry->end;
      previous = entry;
    }
    require(covered == data_bytes, source_, ": the last ", data_bytes - covered, " of ", data_bytes,
            " bytes of data, from offset ", covered, " on, belong to no tensor");
  }

 private:
  enum class place { outside, root, metadata, tensor, numbers };

  bool enter(place next) {
    place_ = next;
    return true;
  }
  bool root_key(const std::string& key) {
    name_ = key;
    if (key == "__metadata__") {
      require(!std::exchange(has_metadata_, true), source_, ": __metadata__ appears twice in the header");
      return true;
    }
    const bool is_new = positions.emplace(key, entries.size()).second;
    require(is_new, source_, ": tensor ", printable(key), " appears twice in the header");
    return true;
  }
  void finish_tensor() {
    field_.clear();
    if (!has_dtype_) refuse("dtype is missing");
    if (!has_shape_) refuse("shape is missing");
    if (!has_offsets_) refuse("data_offsets is missing");
    if (entry_.begin > entry_.end) refuse("data_offsets ", offsets(entry_), " run backwards");
    const std::string size =
        to_text("shape ", bracketed(std::span<const index_type>(entry_.shape)), " of ", name_of(entry_.dtype));
    std::uint64_t bytes = 0;
    if (!tensor_bytes(entry_.dtype, entry_.shape, bytes)) refuse(size, " has too many elements to count");
    if (bytes != entry_.end - entry_.begin)
      refuse(size, " takes ", bytes, " bytes, but data_offsets ", offsets(entry_), " hold ", entry_.end - entry_.begin);
    entry_.name = name_;
    entries.push_back(std::move(entry_));
  }
  static std::string offsets(const safetensors_entry& entry) {
    return bracketed<std::uint64_t>(std::array{entry.begin, entry.end});
  }
  const char* expected() const {
    switch (place_) {
      case place::outside:
        return "an object of tensors";
      case place::root:
        return "an object";
      case place::metadata:
        return "a string";
      case place::tensor:
        return field_ == "dtype" ? "a string" : "an array of whole numbers";
      case place::numbers:
        return "a whole number from 0 to 2^63 - 1";
    }
    return "";
  }
  [[noreturn]] void unexpected(const std::string& found) const {
    refuse(found, " where ", expected(), " was expected");
  }
  /// Throws with the place in the header in front of the message.
  template <class... Parts>
  [[noreturn]] void refuse(const Parts&... parts) const {
    std::string where = source_ + ": header";
    if (place_ == place::metadata || (place_ == place::root && name_ == "__metadata__"))
      where = source_ + ": __metadata__";
    else if (place_ != place::outside)
      where = source_ + ": tensor " + printable(name_);
    if (place_ != place::root && !field_.empty()) where.append(": ").append(printable(field_));
    fail(where, ": ", parts...);
  }

  std::string source_;
  place place_ = place::outside;
  std::string name_;   // of the tensor, or __metadata__
  std::string field_;  // of the tensor or of the metadata
  safetensors_entry entry_;
  std::vector<index_type> numbers_;
  bool has_dtype_ = false, has_shape_ = false, has_offsets_ = false, has_metadata_ = false;
};

}  // namespace detail

/// A safetensors file in memory, checked as a whole before anything of it is used.
class safetensors_file {
 public:
  static safetensors_file read(const std::filesystem::path& path) { return parse(read_file(path), to_text(path)); }

  /// `source` is what messages call the bytes.
  static safetensors_file parse(buffer<std::byte> bytes, std::string source) {
    const auto size = static_cast<std::uint64_t>(bytes.size());
    require(size >= 8, source, ": ", size, " bytes are too few for a safetensors file, which starts with 8 bytes of ",
            "header length");
    std::uint64_t header_bytes = 0;
    std::memcpy(&header_bytes, bytes.data(), 8);
    require(header_bytes <= size - 8, source, ": the header claims ", header_bytes, " bytes at offset 8, but only ",
            size - 8, " follow");
    require(header_bytes <= detail::safetensors_header_limit, source, ": a header of ", header_bytes,
            " bytes is over the limit of ", detail::safetensors_header_limit);
    const char* const text = reinterpret_cast<const char*>(bytes.data()) + 8;
    require(header_bytes > 0 && *text == '{', source, ": the header at offset 8 does not start with '{'");

    // The parser takes a zero byte for the end and would not look at what follows.
    const auto zero = static_cast<std::uint64_t>(std::find(text, text + header_bytes, '\0') - text);
    require(zero == header_bytes, source, ": the header is not valid JSON: a zero byte at offset ", 8 + zero);

    detail::safetensors_header header(source);
    nlohmann::json::sax_parse(text, text + header_bytes, &header);
    header.check_cover(size - 8 - header_bytes);

    safetensors_file file;
    file.source_ = std::move(source);
    file.bytes_ = std::move(bytes);
    file.data_start_ = 8 + header_bytes;
    file.metadata_ = std::move(header.metadata);
    file.entries_ = std::move(header.entries);
    file.positions_ = std::move(header.positions);
    return file;
  }

  /// What messages call the file.
  const std::string& source() const { return source_; }
  const std::map<std::string, std::string>& metadata() const { return metadata_; }
  const std::string& metadata(const std::string& key) const {
    const auto found = metadata_.find(key);
    require(found != metadata_.end(), source_, ": no ", detail::printable(key), " in its metadata");
    return found->second;
  }

  /// In the order of the header.
  const std::vector<safetensors_entry>& entries() const { return entries_; }
  bool contains(std::string_view name) const { return positions_.contains(name); }
  const safetensors_entry& entry(std::string_view name) const {
    const auto found = positions_.find(name);
    require(found != positions_.end(), source_, ": no tensor ", detail::printable(name));
    return entries_[found->second];
  }
  std::span<const std::byte> bytes(const safetensors_entry& entry) const {
    const std::byte* const data = bytes_.data() + data_start_;
    return {data + entry.begin, data + entry.end};
  }

  /// All elements, converted to `T`. Floating dtypes convert to floating types, the others to integers and
  /// bool.
  template <class T>
  std::vector<T> values(std::string_view name) const {
    static_assert(!std::same_as<T, bool>, "std::vector<bool> is no array: ask for std::uint8_t");
    const safetensors_entry& found = entry(name);
    std::vector<T> result(static_cast<std::size_t>(found.size()));
    convert(found, result.data());
    return result;
  }

  /// The elements into `target`, provided that the tensor has exactly this shape.
  template <class T>
  void copy_to(std::string_view name, std::span<T> target, std::span<const index_type> shape) const {
    const safetensors_entry& found = entry(name);
    require(std::ranges::equal(found.shape, shape), source_, ": tensor ", detail::printable(name), " has shape ",
            detail::bracketed(std::span<const index_type>(found.shape)), " in the file, but ", detail::bracketed(shape),
            " is expected");
    require(found.size() == static_cast<index_type>(target.size()), source_, ": tensor ", detail::printable(name),
            " has ", found.size(), " elements, but its destination has ", target.size());
    convert(found, target.data());
  }
  template <class T, int Rank>
  void copy_to(std::string_view name, const view<T, Rank>& target) const {
    copy_to(name, std::span<T>(target.data, static_cast<std::size_t>(target.size())), target.shape);
  }

 private:
  safetensors_file() = default;

  template <class T>
  void convert(const safetensors_entry& entry, T* target) const {
    require(std::floating_point<T> == detail::is_floating(entry.dtype), source_, ": tensor ",
            detail::printable(entry.name), " has dtype ", name_of(entry.dtype), ", but ",
            std::floating_point<T> ? "a floating-point" : "an integer", " one is expected");
    const std::span<const std::byte> stored = bytes(entry);
    if constexpr (!std::same_as<T, bool>) {
      if (entry.dtype == dtype_of<T>()) {
        if (!stored.empty()) std::memcpy(target, stored.data(), stored.size());
        return;
      }
    }
    index_type position = 0;
    detail::for_each_element(entry.dtype, stored, [&](auto value) {
      // Both kinds are compiled, only the one of the check above runs.
      if constexpr (std::floating_point<decltype(value)> == std::floating_point<T>) {
        if (!detail::fits<T>(value))
          fail(source_, ": tensor ", detail::printable(entry.name), ": ", +value, " at element ", position,
               " does not ", "fit in ", name_of(dtype_of<T>()));
        target[position++] = static_cast<T>(value);
      }
    });
  }

  std::string source_;
  buffer<std::byte> bytes_;
  std::uint64_t data_start_ = 0;
  std::map<std::string, std::string> metadata_;
  std::vector<safetensors_entry> entries_;
  std::map<std::string, std::size_t, std::less<>> positions_;
};

/// Collects tensors and writes them. It keeps pointers: the data must live until `write` returns.
class safetensors_writer {
 public:
  void set_metadata(const std::string& key, std::string value) { metadata_[key] = std::move(value); }

  /// The elements at `data` as they are, row-major.
  void add(std::string name, dtype type, std::vector<index_type> shape, const void* data) {
    const std::string where = to_text("tensor ", detail::printable(name));
    require(name != "__metadata__", where, ": this name is taken by the format");
    std::uint64_t bytes = 0;
    const bool countable = detail::tensor_bytes(type, shape, bytes);
    require(countable, where, ": shape ", detail::bracketed(std::span<const index_type>(shape)),
            " has a negative extent or too many elements");
    require(data != nullptr || bytes == 0, where, ": no data");
    require(names_.insert(name).second, where, " was added twice");
    tensors_.push_back({{std::move(name), type, std::move(shape), 0, bytes}, static_cast<const std::byte*>(data)});
  }
  template <class T>
  requires std::is_arithmetic_v<T>
  void add(std::string name, std::vector<index_type> shape, const T* data) {
    add(std::move(name), dtype_of<T>(), std::move(shape), data);
  }
  template <class T, int Rank>
  void add(std::string name, const view<T, Rank>& values) {
    add(std::move(name), dtype_of<std::remove_const_t<T>>(), {values.shape.begin(), values.shape.end()}, values.data);
  }

  /// Replaces `path` as a whole or leaves it as it was. The header lists the tensors in the order they were
  /// added.
  void write(const std::filesystem::path& path) const {
    // Large elements first, otherwise an odd number of small ones would leave a large one unaligned for its
    // reader.
    std::vector<tensor> tensors = tensors_;
    std::vector<std::size_t> order(tensors.size());
    std::iota(order.begin(), order.end(), std::size_t{0});
    std::ranges::stable_sort(order, std::greater{}, [&](std::size_t at) { return size_of(tensors[at].entry.dtype); });
    std::uint64_t offset = 0;
    for (const std::size_t at : order) {
      safetensors_entry& entry = tensors[at].entry;
      entry.begin = offset;
      entry.end = offset += entry.end;
    }
    const std::string start = header(tensors, path);
    write_file_atomically(path, [&](file_output& output) {
      output.write(start);
      for (const std::size_t at : order) {
        const auto& [entry, data] = tensors[at];
        output.write({data, static_cast<std::size_t>(entry.end - entry.begin)});
      }
    });
  }

 private:
  struct tensor {
    safetensors_entry entry;  // until its place is known, begin is 0
    const std::byte* data;
  };

  /// The header behind its length, padded with spaces so that the data start on a multiple of 8 bytes.
  std::string header(const std::vector<tensor>& tensors, const std::filesystem::path& path) const {
    std::string text(8, '\0');
    text += '{';
    if (!metadata_.empty()) {
      text += "\"__metadata__\":{";
      for (const auto& [key, value] : metadata_) text += encoded(key, path) + ':' + encoded(value, path) + ',';
      text.back() = '}';
      text += ',';
    }
    for (const auto& [entry, data] : tensors) {
      text += encoded(entry.name, path) + ":{\"dtype\":\"" + std::string(name_of(entry.dtype)) +
              "\",\"shape\":" + detail::bracketed(std::span<const index_type>(entry.shape)) +
              ",\"data_offsets\":" + detail::bracketed<std::uint64_t>(std::array{entry.begin, entry.end}) + "},";
    }
    if (text.back() == ',') text.pop_back();
    text += '}';
    text.resize((text.size() + 7) / 8 * 8, ' ');
    const std::uint64_t bytes = text.size() - 8;
    require(bytes <= detail::safetensors_header_limit, "cannot write ", path, ": a header of ", bytes,
            " bytes is over the limit of ", detail::safetensors_header_limit);
    std::memcpy(text.data(), &bytes, 8);
    return text;
  }
  static std::string encoded(const std::string& text, const std::filesystem::path& path) {
    try {
      return nlohmann::json(text).dump();
    } catch (const nlohmann::json::exception&) {
      fail("cannot write ", path, ": ", detail::printable(text), " is not valid UTF-8");
    }
  }

  std::map<std::string, std::string> metadata_;
  std::vector<tensor> tensors_;
  std::set<std::string> names_;
};

}  // namespace strata
