// Owners of libav* objects. Internal to this module: this is where its headers come in.
#pragma once

#include <memory>

extern "C" {
#include <libavcodec/avcodec.h>
#include <libavfilter/avfilter.h>
#include <libavformat/avformat.h>
#include <libavutil/frame.h>
}

namespace mc::media {

struct AvFree {
  void operator()(AVPacket* packet) const { av_packet_free(&packet); }
  void operator()(AVFrame* frame) const { av_frame_free(&frame); }
  void operator()(AVCodecContext* context) const { avcodec_free_context(&context); }
  void operator()(AVCodecParserContext* parser) const { av_parser_close(parser); }
  void operator()(AVFilterGraph* graph) const { avfilter_graph_free(&graph); }
  void operator()(AVFormatContext* format) const { avformat_close_input(&format); }
};
using PacketPtr = std::unique_ptr<AVPacket, AvFree>;
using FramePtr = std::unique_ptr<AVFrame, AvFree>;
using CodecPtr = std::unique_ptr<AVCodecContext, AvFree>;
using ParserPtr = std::unique_ptr<AVCodecParserContext, AvFree>;
using GraphPtr = std::unique_ptr<AVFilterGraph, AvFree>;
using FormatPtr = std::unique_ptr<AVFormatContext, AvFree>;

}  // namespace mc::media
