#include "image.hpp"

#include <csetjmp>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <iterator>
#include <stdexcept>

#include <jpeglib.h>
// after jpeglib.h
#include <jerror.h>
#include <png.h>

namespace {

using Bytes = std::vector<std::uint8_t>;

// ---- JPEG. libjpeg reports errors by longjmp: no object with a destructor may be created between setjmp and
// the calls that can fail.

struct JpegErrors {
    jpeg_error_mgr base;
    std::jmp_buf jump;
    char message[JMSG_LENGTH_MAX];
};

void on_jpeg_error(j_common_ptr info) {
    auto* errors = reinterpret_cast<JpegErrors*>(info->err);
    errors->base.format_message(info, errors->message);
    std::longjmp(errors->jump, 1);
}

void on_jpeg_message(j_common_ptr info, int level) {
    if (level < 0 && info->err->msg_code == JWRN_JPEG_EOF) on_jpeg_error(info);  // a truncated file is an error
}

// Orientation (1..8) in an EXIF block; 1 if it is absent or damaged. CIPA DC-008, section 4.6.
int orientation_of(const std::uint8_t* data, std::size_t size) {
    if (size < 14 || std::memcmp(data, "Exif\0\0", 6) != 0) return 1;
    const std::uint8_t* tiff = data + 6;
    const std::size_t end = size - 6;
    const bool little = tiff[0] == 'I';
    const auto number = [&](std::size_t at, int bytes) {
        std::uint32_t value = 0;
        for (int i = 0; i < bytes; ++i) value |= std::uint32_t{tiff[at + i]} << 8 * (little ? i : bytes - 1 - i);
        return value;
    };
    const std::size_t directory = number(4, 4);
    if (directory + 2 > end) return 1;
    const std::uint32_t entries = number(directory, 2);
    for (std::uint32_t i = 0; i < entries && directory + 2 + 12 * (i + 1) <= end; ++i) {
        const std::size_t entry = directory + 2 + 12 * i;
        if (number(entry, 2) == 0x0112 && number(entry + 2, 2) == 3) return static_cast<int>(number(entry + 8, 2));
    }
    return 1;
}

bool read_jpeg(const Bytes& file, Image& image, int& orientation, jpeg_decompress_struct& info, JpegErrors& errors) {
    info.err = jpeg_std_error(&errors.base);
    errors.base.error_exit = on_jpeg_error;
    errors.base.emit_message = on_jpeg_message;
    if (setjmp(errors.jump)) return false;
    jpeg_create_decompress(&info);
    jpeg_mem_src(&info, file.data(), static_cast<unsigned long>(file.size()));
    jpeg_save_markers(&info, JPEG_APP0 + 1, 0xFFFF);
    jpeg_read_header(&info, TRUE);
    for (auto* marker = info.marker_list; marker != nullptr && orientation == 1; marker = marker->next) {
        orientation = orientation_of(marker->data, marker->data_length);
    }
    if (info.num_components == 4) {
        std::strcpy(errors.message, "a CMYK JPEG: save it as RGB");
        return false;
    }
    info.out_color_space = JCS_RGB;
    jpeg_calc_output_dimensions(&info);
    image.width = static_cast<int>(info.output_width);
    image.height = static_cast<int>(info.output_height);
    if (std::int64_t{image.width} * image.height > 64'000'000) {
        std::strcpy(errors.message, "larger than 64,000,000 pixels");
        return false;
    }
    image.rgb.resize(static_cast<std::size_t>(image.width) * image.height * 3);
    jpeg_start_decompress(&info);
    while (info.output_scanline < info.output_height) {
        JSAMPROW row = image.rgb.data() + static_cast<std::size_t>(info.output_scanline) * image.width * 3;
        jpeg_read_scanlines(&info, &row, 1);
    }
    jpeg_finish_decompress(&info);
    return true;
}

Image turned(const Image& image, int orientation) {
    if (orientation < 2 || orientation > 8) return image;
    const bool swaps = orientation >= 5;
    Image out{swaps ? image.height : image.width, swaps ? image.width : image.height, Bytes(image.rgb.size())};
    const int w = image.width, h = image.height;
    for (int y = 0; y < out.height; ++y) {
        for (int x = 0; x < out.width; ++x) {
            int sx = swaps ? y : x, sy = swaps ? x : y;
            if (orientation == 2 || orientation == 3 || orientation == 7 || orientation == 8) sx = w - 1 - sx;
            if (orientation == 3 || orientation == 4 || orientation == 6 || orientation == 7) sy = h - 1 - sy;
            std::memcpy(&out.rgb[(static_cast<std::size_t>(y) * out.width + x) * 3],
                        &image.rgb[(static_cast<std::size_t>(sy) * w + sx) * 3], 3);
        }
    }
    return out;
}

Image decode_jpeg(const Bytes& file) {
    Image image;
    int orientation = 1;
    jpeg_decompress_struct info{};
    JpegErrors errors{};
    const bool good = read_jpeg(file, image, orientation, info, errors);
    jpeg_destroy_decompress(&info);
    if (!good) throw std::runtime_error(errors.message);
    return turned(image, orientation);
}

// ---- PNG. The same rule about longjmp.

struct PngSource {
    const Bytes* file;
    std::size_t at;
    char message[160];
};

void read_png_bytes(png_structp png, png_bytep out, png_size_t count) {
    auto* source = static_cast<PngSource*>(png_get_io_ptr(png));
    if (count > source->file->size() - source->at) png_error(png, "truncated");
    std::memcpy(out, source->file->data() + source->at, count);
    source->at += count;
}

void on_png_error(png_structp png, png_const_charp message) {
    auto* source = static_cast<PngSource*>(png_get_error_ptr(png));
    std::snprintf(source->message, sizeof source->message, "%s", message);
    png_longjmp(png, 1);
}

void on_png_warning(png_structp, png_const_charp) {}

bool read_png(png_structp png, png_infop info, PngSource& source, Image& image, Bytes& rgba, std::vector<png_bytep>& rows) {
    if (setjmp(png_jmpbuf(png))) return false;
    png_set_read_fn(png, &source, read_png_bytes);
    png_read_info(png, info);
    const bool is_gray = png_get_color_type(png, info) == PNG_COLOR_TYPE_GRAY;
    // As Pillow does: 16-bit gray is scaled and rounded, other 16-bit samples keep their high byte.
    if (png_get_bit_depth(png, info) == 16) is_gray ? png_set_scale_16(png) : png_set_strip_16(png);
    png_set_expand(png);
    png_set_gray_to_rgb(png);
    png_set_add_alpha(png, 255, PNG_FILLER_AFTER);
    png_set_interlace_handling(png);
    image.width = static_cast<int>(png_get_image_width(png, info));
    image.height = static_cast<int>(png_get_image_height(png, info));
    if (std::int64_t{image.width} * image.height > 64'000'000) png_error(png, "larger than 64,000,000 pixels");
    png_read_update_info(png, info);
    rgba.resize(static_cast<std::size_t>(image.width) * image.height * 4);
    rows.resize(image.height);
    for (int y = 0; y < image.height; ++y) rows[y] = rgba.data() + static_cast<std::size_t>(y) * image.width * 4;
    png_read_image(png, rows.data());
    png_read_end(png, nullptr);
    return true;
}

Image decode_png(const Bytes& file) {
    Image image;
    Bytes rgba;
    std::vector<png_bytep> rows;
    PngSource source{&file, 0, ""};
    png_structp png = png_create_read_struct(PNG_LIBPNG_VER_STRING, &source, on_png_error, on_png_warning);
    png_infop info = png == nullptr ? nullptr : png_create_info_struct(png);
    if (info == nullptr) throw std::runtime_error("no memory for libpng");
    const bool good = read_png(png, info, source, image, rgba, rows);
    png_destroy_read_struct(&png, &info, nullptr);
    if (!good) throw std::runtime_error(source.message);
    image.rgb.resize(rgba.size() / 4 * 3);
    for (std::size_t i = 0; i < rgba.size() / 4; ++i) {
        const std::uint32_t alpha = rgba[4 * i + 3];
        for (int c = 0; c < 3; ++c) {  // on white, with Pillow's rounding: 7 more bits, then / 255
            const std::uint32_t sum = (rgba[4 * i + c] * alpha + 255 * (255 - alpha)) * 128 + 128 * 128;
            image.rgb[3 * i + c] = static_cast<std::uint8_t>(((sum >> 8) + sum) >> 15);
        }
    }
    return image;
}

}  // namespace

Image decode(const std::string& path) {
    std::ifstream stream(path, std::ios::binary);
    if (!stream) throw std::runtime_error(path + " cannot be opened");
    const Bytes file{std::istreambuf_iterator<char>(stream), std::istreambuf_iterator<char>()};
    const auto starts = [&](const char* magic, std::size_t size) {
        return file.size() >= size && std::memcmp(file.data(), magic, size) == 0;
    };
    try {
        Image image;
        if (starts("\xFF\xD8\xFF", 3)) {
            image = decode_jpeg(file);
        } else if (starts("\x89PNG\r\n\x1A\n", 8)) {
            image = decode_png(file);
        } else {
            throw std::runtime_error("neither JPEG nor PNG");
        }
        check_size(image.width, image.height);
        return image;
    } catch (const std::runtime_error& error) {
        throw std::runtime_error(path + ": " + error.what());
    }
}
