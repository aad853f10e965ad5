// Reads QR codes from the camera: with the browser's BarcodeDetector, or else with a library.

const EVERY_MS = 120; // eight pictures a second: a code that is held still is read at once
const LONG_SIDE = 800; // pixels: enough for the largest of our codes to fill half of the picture

async function reader() {
	const { BarcodeDetector } = window;
	if (BarcodeDetector) {
		const formats = await BarcodeDetector.getSupportedFormats().catch(() => []);
		if (formats.includes("qr_code")) {
			const detector = new BarcodeDetector({ formats: ["qr_code"] });
			return async (video) => (await detector.detect(video))[0]?.rawValue;
		}
	}
	const { decodeQR } = await import("./qr_decode.js");
	const canvas = document.createElement("canvas");
	const pen = canvas.getContext("2d", { willReadFrequently: true });
	return async (video) => {
		const shrunk = Math.min(1, LONG_SIDE / Math.max(video.videoWidth, video.videoHeight));
		canvas.width = Math.round(video.videoWidth * shrunk);
		canvas.height = Math.round(video.videoHeight * shrunk);
		pen.drawImage(video, 0, 0, canvas.width, canvas.height);
		try {
			return decodeQR(pen.getImageData(0, 0, canvas.width, canvas.height));
		} catch {
			return undefined; // no code in this picture
		}
	};
}

// Shows the camera in `video` and passes every code that it sees to `heard`, as often as it sees it.
// Returns a function that ends it. Rejects when there is no camera, or no permission.
export async function watch(video, heard) {
	const wanted = { facingMode: { ideal: "environment" }, width: { ideal: 1280 }, height: { ideal: 720 } };
	const stream = await navigator.mediaDevices.getUserMedia({ audio: false, video: wanted });
	let timer;
	let ended = false;
	const end = () => {
		ended = true;
		clearTimeout(timer);
		for (const track of stream.getTracks()) track.stop();
		video.srcObject = null;
	};
	try {
		const read = await reader();
		video.srcObject = stream;
		await video.play();
		const look = async () => {
			if (video.readyState > 1 && !document.hidden) {
				const code = await read(video).catch(() => undefined);
				if (code && !ended) heard(code);
			}
			if (!ended) timer = setTimeout(look, EVERY_MS);
		};
		look();
	} catch (failure) {
		end();
		throw failure;
	}
	return end;
}
