"""What gradio alone takes: an app that receives a photo and does nothing with it."""

import gradio as gr

with gr.Blocks() as app:
    photo, answer = gr.File(), gr.Textbox()
    gr.Button().click(lambda photo: "received", photo, answer, preprocess=False, api_name="predict")

if __name__ == "__main__":
    app.launch()
